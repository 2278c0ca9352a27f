// SPDX-License-Identifier: Apache-2.0
//! Properties of the pure parts, for any input.

use std::path::Path;

use premount::internals::{Config, Escaped, Quoted, RelPath, RelRef};
use proptest::prelude::*;
use serde_json::json;

/// Paths that dots, slashes and names meet in.
fn paths() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just("/"),
            Just("."),
            Just(".."),
            Just("a"),
            Just("bc"),
            Just("\u{e9}")
        ],
        0..24,
    )
    .prop_map(|parts| format!("/{}", parts.concat()))
}

proptest! {
    #[test]
    fn a_clean_path_stays_as_it_is(path in paths()) {
        let clean = RelPath::from_destination(&path).unwrap();
        let shown = format!("/{}", std::str::from_utf8(clean.as_bytes()).unwrap());
        prop_assert_eq!(RelPath::from_destination(&shown).unwrap(), clean);
    }

    #[test]
    fn cleaning_is_what_the_kernel_would_do_without_links(path in paths()) {
        let mut names: Vec<&str> = Vec::new();
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        let clean = RelPath::from_destination(&path).unwrap();
        prop_assert_eq!(clean.as_bytes().to_vec(), names.join("/").into_bytes());
    }

    #[test]
    fn any_text_is_a_clean_path_or_refused(text in any::<String>()) {
        if let Ok(clean) = RelPath::from_destination(&text) {
            prop_assert!(!text.contains('\0'));
            for name in clean.as_bytes().split(|&byte| byte == b'/') {
                prop_assert!(clean.as_bytes().is_empty() || !matches!(name, b"" | b"." | b".."));
            }
        }
    }

    #[test]
    fn the_prefixes_of_a_path_are_built_name_by_name(
        names in proptest::collection::vec("[a-z]{1,4}", 0..8)
    ) {
        let path = names.join("/").into_bytes();
        let path = RelRef::new(&path).unwrap();
        let prefixes: Vec<RelRef> = path.prefixes().collect();
        prop_assert_eq!(prefixes.len(), names.len());
        prop_assert_eq!(path.depth(), names.len());
        let mut built = RelPath::default();
        for ((name, prefix), depth) in path.names().zip(prefixes).zip(1..) {
            built.push(name);
            prop_assert_eq!(built.view(), prefix);
            prop_assert_eq!(path.prefix(depth), prefix);
            let below = path.strip_prefix(prefix).unwrap();
            prop_assert_eq!(prefix.join(below), path.to_owned());
        }
        for (up, depth) in path.ancestors().zip((0..=names.len()).rev()) {
            prop_assert_eq!(up, path.prefix(depth));
        }
    }

    #[test]
    fn no_bytes_print_as_a_control_or_a_second_line(bytes in any::<Vec<u8>>()) {
        for shown in [Escaped(&bytes).to_string(), Quoted(&bytes).to_string()] {
            prop_assert!(!shown.chars().any(char::is_control));
            let turns = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            prop_assert!(!shown.chars().any(turns));
        }
    }

    #[test]
    fn quotes_end_only_where_the_field_ends(text in any::<String>()) {
        let shown = Quoted(text.as_bytes()).to_string();
        let inner = shown.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
        let mut escaped = false;
        for character in inner.chars() {
            prop_assert!(character != '"' || escaped);
            escaped = character == '\\' && !escaped;
        }
        prop_assert!(!escaped);
    }

    #[test]
    fn different_text_prints_differently(a in any::<String>(), b in any::<String>()) {
        let shown = |text: &String| Escaped(text.as_bytes()).to_string();
        prop_assert_eq!(a == b, shown(&a) == shown(&b));
    }

    #[test]
    fn the_owner_is_what_the_mappings_say(
        maps in proptest::collection::vec((0_u32..3, any::<u32>(), 0_u32..3), 0..5)
    ) {
        let mapping = |&(inside, outside, size): &(u32, u32, u32)| {
            json!({"containerID": inside, "hostID": outside, "size": size})
        };
        let mappings: Vec<_> = maps.iter().map(mapping).collect();
        let text = json!({"root": {"path": "r"}, "mounts": [],
                          "linux": {"uidMappings": mappings, "gidMappings": mappings}});
        let config = Config::parse(&text.to_string(), Path::new("c"), Path::new("/b")).unwrap();
        let root = maps.iter().find(|(inside, _, size)| *inside == 0 && *size > 0);
        let id = root.map_or(0, |(_, outside, _)| *outside);
        prop_assert_eq!((config.owner.uid, config.owner.gid), (id, id));
    }
}
