//! Fenced blocks of a document, with the words behind the language that say where a test runs each.
//!
//! `CONTRIBUTING.md` has the convention: a place and scenes (`backend=ipip,gre`), a step (`step=check`), a file that the
//! block is (`file=/etc/…`); a block of `text output` is what the block before it prints.

/// Step of a scene that a block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Makes what traffic needs.
    SetUp,
    /// Looks at it, once traffic has flowed.
    Check,
    /// Takes it away again.
    Undo,
}

/// Fenced block of a document.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Line of the document that the block begins at, from 1.
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) text: String,
    /// Output that the document shows for the block.
    pub(crate) output: Option<String>,
    words: Vec<String>,
}

impl Block {
    /// Fenced blocks of a document, in order.
    pub(crate) fn all(document: &str) -> Vec<Self> {
        let mut blocks: Vec<Self> = Vec::new();
        let mut lines = document.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let Some(info) = line.strip_prefix("```") else { continue };
            let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
            let text: String = inside.flat_map(|line| [line, "\n"]).collect();
            let mut words = info.split_whitespace().map(str::to_owned);
            let language = words.next().unwrap_or_default();
            let block = Self { line: index + 1, language, text, output: None, words: words.collect() };
            match blocks.last_mut() {
                Some(before) if block.words == ["output"] => before.output = Some(block.text),
                _ => blocks.push(block),
            }
        }
        blocks
    }

    /// Value of a word `key=value`.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// True if the block is run at this place of the scene.
    pub(crate) fn is_at(&self, place: &str, scene: &str) -> bool {
        self.value(place).is_some_and(|scenes| scenes.split(',').any(|one| one == scene))
    }

    pub(crate) fn step(&self) -> Step {
        match self.value("step") {
            None => Step::SetUp,
            Some("check") => Step::Check,
            Some("undo") => Step::Undo,
            Some(other) => panic!("line {}: there is no step `{other}`", self.line),
        }
    }

    /// Fails unless the lines of the documented output are among those of this one, in order; `…` stands for any text.
    pub(crate) fn compare(&self, printed: &str) {
        let mut lines = printed.lines().map(in_single_spaces);
        for expected in self.output.iter().flat_map(|output| output.lines()).map(in_single_spaces) {
            assert!(
                lines.any(|line| is_like(&expected, &line)),
                "line {}: no line like {expected:?}, in this order, of what was printed:\n{printed}",
                self.line
            );
        }
    }
}

fn in_single_spaces(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// True if the line is the pattern, `…` being any text.
fn is_like(pattern: &str, line: &str) -> bool {
    let parts: Vec<&str> = pattern.split('…').map(str::trim).collect();
    let [first, between @ .., last] = parts.as_slice() else { return pattern == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in between {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[test]
fn blocks_are_found_with_their_words_and_output() {
    let document =
        "Text.\n\n```sh backend=a,b step=check\none\ntwo\n```\n\nIt prints\n\n```text output\n1 … 3\n```\n";
    let blocks = Block::all(document);
    assert_eq!(blocks.len(), 1);
    assert_eq!(
        (blocks[0].line, blocks[0].language.as_str(), blocks[0].text.as_str()),
        (3, "sh", "one\ntwo\n")
    );
    assert!(blocks[0].is_at("backend", "b") && !blocks[0].is_at("backend", "c"));
    assert!(!blocks[0].is_at("client", "b"));
    assert_eq!(blocks[0].step(), Step::Check);
    blocks[0].compare("0\n1   2 3\n");
    assert!(!is_like("1 … 3", "1 2 4") && !is_like("1 … 3", "2 1 3") && is_like("… 3", "1 3"));
}
