//! Keys as Google Cloud writes them: camelCase, and some that have no counterpart here.

/// Keys of Google Cloud's resources that say nothing about which packets go where, in snake_case.
const OF_GOOGLE_ALONE: [&str; 17] = [
    "annotations",
    "base_forwarding_rule",
    "creation_timestamp",
    "fingerprint",
    "id",
    "ip_version",
    "kind",
    "label_fingerprint",
    "labels",
    "network",
    "network_tier",
    "region",
    "self_link",
    "self_link_with_id",
    "size",
    "subnetwork",
    "zone",
];

/// True of a key of Google Cloud's resources that says nothing about which packets go where; it is in snake_case.
pub fn is_of_google_alone(key: &str) -> bool {
    OF_GOOGLE_ALONE.contains(&key)
}

/// Key in snake_case, the case of the file: `sessionAffinity` is `session_affinity`, `IPAddress` is `ip_address`.
pub fn snake_case(key: &str) -> String {
    let letters: Vec<char> = key.chars().collect();
    let mut snake = String::with_capacity(key.len() + 8);
    for (i, letter) in letters.iter().enumerate() {
        let before = i.checked_sub(1).map(|before| letters[before]);
        let begins_word = match before {
            Some(before) if before.is_ascii_uppercase() => {
                // The last capital of several begins the next word: IPAddress.
                letters.get(i + 1).is_some_and(char::is_ascii_lowercase)
            }
            Some(before) => before != '_',
            None => false,
        };
        if letter.is_ascii_uppercase() && begins_word {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn camel_case_becomes_snake_case() {
        for (camel, snake) in [
            ("sessionAffinity", "session_affinity"),
            ("IPAddress", "ip_address"),
            ("IPProtocol", "ip_protocol"),
            ("networkIP", "network_ip"),
            ("enableCDN", "enable_cdn"),
            ("http2HealthCheck", "http2_health_check"),
            ("already_snake", "already_snake"),
            ("Ä", "Ä"),
            ("", ""),
        ] {
            assert_eq!(snake_case(camel), snake);
        }
    }
}
