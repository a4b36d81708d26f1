//! Texts of the platform made fit to be label values: bounded, without characters that reorder,
//! hide or break a line. The platform's own text is never changed in storage.

use std::borrow::Cow;

/// Longest label value in bytes: far above any real queue name, and a page stays bounded.
pub const LABEL_BYTES_MAX: usize = 128;

/// The text with control and bidirectional characters replaced by U+FFFD, cut at
/// [`LABEL_BYTES_MAX`] on a character's boundary.
pub fn clean_label(text: &str) -> Cow<'_, str> {
    let cut = cut(text, LABEL_BYTES_MAX);
    if cut.chars().any(is_unsafe) {
        let replaced: String = cut
            .chars()
            .map(|c| {
                if is_unsafe(c) {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            })
            .collect();
        // A replacement has three bytes, a control character one: the length may have grown.
        Cow::Owned(self::cut(&replaced, LABEL_BYTES_MAX).to_owned())
    } else {
        Cow::Borrowed(cut)
    }
}

/// The longest head of at most `bytes_max` bytes that ends on a character's boundary.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Control characters, line and paragraph separators, and those that reorder or hide text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061C}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_names_stay_as_they_are() {
        for name in ["Sales_US", "Vertrieb Süd", "支持", "a\"b\\c", ""] {
            assert_eq!(clean_label(name), name);
        }
    }

    #[test]
    fn control_and_bidirectional_characters_are_replaced() {
        assert_eq!(clean_label("a\nb\0c"), "a\u{FFFD}b\u{FFFD}c");
        assert_eq!(clean_label("\u{202E}gro.live"), "\u{FFFD}gro.live");
    }

    #[test]
    fn length_is_cut_on_a_character_boundary() {
        let long = "é".repeat(100);
        assert_eq!(clean_label(&long).len(), 128);
        let odd = format!("x{}", "é".repeat(100));
        assert_eq!(clean_label(&odd).len(), 127);
        assert!(clean_label(&"\n".repeat(500)).len() <= LABEL_BYTES_MAX);
    }
}
