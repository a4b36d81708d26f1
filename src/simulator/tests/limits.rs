//! Tokens and rates.

use base64::Engine as _;

use super::super::exchange::Call;
use super::*;

#[test]
fn both_forms_of_credentials_are_taken_and_wrong_ones_refused() {
    let mut client = Client::new(2);
    let basic = |text: &str| {
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(text)
        )
    };
    let grant = "grant_type=client_credentials";
    let good = client.send("POST", "/oauth/token", grant, Some(&basic("demo:demo")));
    assert_eq!(good.status, 200);
    assert_eq!(good.value()["token_type"], "bearer");
    assert_eq!(good.value()["expires_in"], 86_400);
    let refused = client.send("POST", "/oauth/token", grant, Some(&basic("demo:wrong")));
    assert_eq!(
        (refused.status, text(&refused.value()["error"])),
        (401, "invalid_client")
    );
    let refused = client.login("demo", "wrong");
    assert_eq!(
        (refused.status, text(&refused.value()["error"])),
        (400, "invalid_client")
    );
    let other = client.send(
        "POST",
        "/oauth/token",
        "grant_type=password",
        Some(&basic("demo:demo")),
    );
    assert_eq!(
        (other.status, text(&other.value()["error"])),
        (400, "unsupported_grant_type")
    );
    assert_eq!(
        client
            .send("POST", "/oauth/token", grant, Some("Basic !"))
            .status,
        401
    );
}

#[test]
fn a_token_is_asked_for_and_expires_to_the_millisecond() {
    let lifetime = Millis::from_secs(300);
    let mut client = Client::of(SimulatorOptions {
        token_lifetime: lifetime,
        ..options(2)
    });
    let answer = client.send("GET", "/api/v2/users", "", None);
    assert_eq!(
        (answer.status, text(&answer.value()["code"])),
        (401, "authentication.required")
    );
    client.now = TEST_ORIGIN + lifetime - Millis(1);
    assert_eq!(client.get("/api/v2/users").status, 200);
    client.now = TEST_ORIGIN + lifetime;
    let answer = client.get("/api/v2/users");
    assert_eq!(
        (answer.status, text(&answer.value()["code"])),
        (401, "bad.credentials")
    );
    client.log_in();
    assert_eq!(client.get("/api/v2/users").status, 200);
}

#[test]
fn every_answer_tells_the_rate_and_too_many_are_told_to_wait() {
    let mut client = Client::of(SimulatorOptions {
        requests_per_minute: 3,
        ..options(2)
    });
    for (count, reset) in [("1", "60"), ("2", "55"), ("3", "50")] {
        let answer = client.get("/api/v2/users");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("inin-ratelimit-count"), Some(count));
        assert_eq!(answer.header("inin-ratelimit-allowed"), Some("3"));
        assert_eq!(answer.header("inin-ratelimit-reset"), Some(reset));
        client.pass(5);
    }
    let refused = client.get("/api/v2/users");
    assert_eq!(
        (refused.status, text(&refused.value()["code"])),
        (429, "too.many.requests")
    );
    assert_eq!(refused.header("retry-after"), Some("45"));
    assert_eq!(client.platform.statistics().retry_after_disregarded, 0);
    client.pass(44);
    assert_eq!(client.get("/api/v2/users").status, 429);
    assert_eq!(client.platform.statistics().retry_after_disregarded, 1);
    client.pass(1);
    assert_eq!(client.get("/api/v2/users").status, 200);
    let statistics = client.platform.statistics();
    assert_eq!(statistics.retry_after_disregarded, 1);
    assert_eq!(statistics.over_limit, 2);
    assert_eq!(
        (statistics.of(Call::Users), statistics.of(Call::Token)),
        (6, 1)
    );
    // The login at 0 s is 60 s before the last request.
    assert_eq!(statistics.max_in_60s, 6);
    assert_eq!(statistics.by_status[&429], 2);
}

#[test]
fn the_date_is_the_platforms() {
    let mut client = Client::new(1);
    assert_eq!(
        client.get("/api/v2/users").header("date"),
        Some("Tue, 14 May 2024 09:00:00 GMT")
    );
    client.set_faults("clock-skew=-90s");
    assert_eq!(
        client.get("/api/v2/users").header("date"),
        Some("Tue, 14 May 2024 08:58:30 GMT")
    );
}
