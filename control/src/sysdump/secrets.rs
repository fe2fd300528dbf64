//! The last look at every line before it leaves the machine.
//!
//! Nothing that is read should hold a secret. Somebody may still have put one where none belongs, a
//! token into a label or a key into a log: a line with one is left out, and that is said.

use crate::watch::without_users;

/// What begins or names secrets; compared in lower case.
const WORDS: [&str; 12] = [
    "private key",
    "bearer ",
    "client-key-data",
    "client-certificate-data",
    "certificate-authority-data",
    "password",
    "passwd",
    "secret-access-key",
    "secret_access_key",
    "authorization:",
    "\"token\"",
    "token:",
];

/// Begins a JSON Web Token, as service accounts have.
const WEB_TOKEN: &str = "eyj";

/// A text without the lines that look like secrets, and how many those are.
pub(super) fn without(text: &[u8]) -> (Vec<u8>, usize) {
    let mut left_out = 0;
    let mut kept = Vec::with_capacity(text.len());
    let mut in_key = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let lower = String::from_utf8_lossy(line).to_lowercase();
        let was_in_key = in_key;
        // The lines of a key in a file of its own name nothing.
        in_key = (in_key || lower.contains("-----begin")) && !lower.contains("-----end");
        if was_in_key || in_key || is_one(&lower) {
            left_out += 1;
            kept.extend_from_slice(b"(left out: it looks like a secret)\n");
        } else {
            kept.extend_from_slice(line);
        }
    }
    (kept, left_out)
}

fn is_one(lower: &str) -> bool {
    let has_user = without_users(lower) != lower;
    WORDS.iter().any(|word| lower.contains(word)) || has_user || has_web_token(lower)
}

/// Three parts of base64 with dots between them, of which the first is an object of JSON.
fn has_web_token(lower: &str) -> bool {
    let is_of_one = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    lower.match_indices(WEB_TOKEN).any(|(begin, _)| {
        let rest = lower.get(begin..).unwrap_or_default();
        let end = rest.find(|letter| !is_of_one(letter)).unwrap_or(rest.len());
        let token = rest.get(..end).unwrap_or_default();
        token.len() > 40 && token.matches('.').count() >= 2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_secret_is_left_out_and_its_neighbours_stay() {
        let token = format!("eyJhbGciOi.{}.c2lnbmF0dXJl", "a".repeat(40));
        for secret in [
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
            "Authorization: Bearer abc",
            "  client-key-data: LS0t",
            "PASSWORD=hunter2",
            "proxy-url: http://me:hunter2@proxy:3128",
            token.as_str(),
        ] {
            let (text, left_out) = without(format!("before\n{secret}\nafter\n").as_bytes());
            let text = String::from_utf8(text).unwrap();
            assert!(text.starts_with("before\n(left out") && text.ends_with("\nafter\n"), "{text}");
            assert_eq!(left_out, secret.lines().count(), "{text}");
            assert!(!text.contains("MIIEow") && !text.contains("hunter2"), "{text}");
        }
        for plain in ["pods eyjafjallajokull.example.com", "service-account-token", "key: value"] {
            assert_eq!(without(plain.as_bytes()), (plain.as_bytes().to_vec(), 0));
        }
    }
}
