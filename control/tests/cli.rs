//! The verbs as they are typed, and what they print.

#[test]
fn verbs_print_what_is_written_here() {
    trycmd::TestCases::new().case("tests/cli/*.trycmd").case("../docs/tutorial.md");
}
