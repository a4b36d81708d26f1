//! The platform's regions and their base URLs.
//!
//! Taken from the region tables of the platform's published SDKs. A region that is newer than
//! this table is reached by `api_url` and `login_url`.

use super::finding::{Refusal, nearest};

/// Region name of the cloud provider, and the domain that the platform uses there.
const REGIONS: [(&str, &str); 18] = [
    ("us-east-1", "mypurecloud.com"),
    ("eu-west-1", "mypurecloud.ie"),
    ("ap-southeast-2", "mypurecloud.com.au"),
    ("ap-northeast-1", "mypurecloud.jp"),
    ("eu-central-1", "mypurecloud.de"),
    ("us-west-2", "usw2.pure.cloud"),
    ("ca-central-1", "cac1.pure.cloud"),
    ("ap-northeast-2", "apne2.pure.cloud"),
    ("eu-west-2", "euw2.pure.cloud"),
    ("ap-south-1", "aps1.pure.cloud"),
    ("us-east-2", "use2.us-gov-pure.cloud"),
    ("sa-east-1", "sae1.pure.cloud"),
    ("me-central-1", "mec1.pure.cloud"),
    ("ap-northeast-3", "apne3.pure.cloud"),
    ("eu-central-2", "euc2.pure.cloud"),
    ("mx-central-1", "mxc1.pure.cloud"),
    ("ap-southeast-1", "apse1.pure.cloud"),
    ("eusc-de-east-1", "edee1.eusc-pure.cloud"),
];

/// The domain of a region, given as the domain itself or by the cloud provider's name.
///
/// # Errors
/// A [`Refusal`] with the nearest known region.
pub(super) fn domain(region: &str) -> Result<&'static str, Refusal> {
    let known = REGIONS
        .iter()
        .find(|(name, domain)| region == *name || region == *domain);
    if let Some((_, domain)) = known {
        return Ok(domain);
    }
    let names = REGIONS.iter().flat_map(|(name, domain)| [*name, *domain]);
    let meant = match nearest(region, names) {
        Some(near) => format!("did you mean \"{near}\"? "),
        None => String::new(),
    };
    Err(Refusal::value(
        region,
        "is not a region that this version knows",
        &format!("{meant}for a newer region give source.api_url and source.login_url instead"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_a_region_lead_to_its_domain() {
        assert_eq!(domain("mypurecloud.de").unwrap(), "mypurecloud.de");
        assert_eq!(domain("eu-central-1").unwrap(), "mypurecloud.de");
    }

    #[test]
    fn an_unknown_region_names_the_nearest_and_the_way_out() {
        let refusal = domain("mypurecloud.con").unwrap_err();
        assert!(
            refusal.hint.contains("\"mypurecloud.com\""),
            "{}",
            refusal.hint
        );
        assert!(domain("moon").unwrap_err().hint.starts_with("for a newer"));
    }
}
