//! Sources of a configuration: the texts of its files, which whoever reads files has brought together.

use serde::{Deserialize, Serialize};

/// Text of a file, and the name that errors call it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Name of the file.
    pub name: String,
    /// Text of the file.
    pub text: String,
}

/// All texts of a configuration: that of its main file, and those of the files that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// Main file.
    pub main: Source,
    /// Files that keys of the configuration name.
    #[serde(default)]
    pub named: Vec<NamedFile>,
}

/// File that a key of the configuration names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFile {
    /// Index of the file that names it: 0 is the main file.
    pub named_in: usize,
    /// Path as it is written there.
    pub path: String,
    /// Path that was read, which errors call the file by.
    pub name: String,
    /// Text of the file, or why it could not be read.
    pub text: Result<String, String>,
    /// True if every user of the machine may read the file.
    pub is_public: bool,
}

/// Remark on a file of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Sentence that names the file, and what is remarkable of it.
    pub text: String,
    /// Change that ends the remark.
    pub remedy: String,
}

impl Sources {
    /// Sources of a configuration of one file.
    pub fn of_text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { main: Source { name: name.into(), text: text.into() }, named: Vec::new() }
    }

    /// True of a configuration that names no other files.
    pub fn is_one_file(&self) -> bool {
        self.named.is_empty()
    }

    /// Texts that errors can be about, in the order in which spans count their bytes.
    pub(super) fn texts(&self) -> Vec<&Source> {
        vec![&self.main]
    }

    /// Number of bytes of all files.
    pub(super) fn bytes(&self) -> usize {
        let named = self.named.iter().filter_map(|file| file.text.as_ref().ok());
        self.texts().iter().map(|source| source.text.len()).chain(named.map(String::len)).sum()
    }

    /// File that a key names whose value begins at this byte.
    pub(super) fn named(&self, byte: usize, path: &str) -> Option<&NamedFile> {
        let named_in = Bases::of(&self.texts()).index(byte);
        self.named.iter().find(|file| file.named_in == named_in && file.path == path)
    }
}

/// First byte of each text in the one count of bytes that spans have: texts follow each other, one byte apart.
#[derive(Clone, Debug)]
pub(super) struct Bases(Vec<usize>);

impl Bases {
    pub(super) fn of(texts: &[&Source]) -> Self {
        let next = |next: &mut usize, source: &&Source| {
            let base = *next;
            *next += source.text.len() + 1;
            Some(base)
        };
        Self(texts.iter().scan(0, next).collect())
    }

    /// First byte of the text with this index.
    pub(super) fn base(&self, index: usize) -> usize {
        self.0[index]
    }

    /// Index of the text that has the byte.
    pub(super) fn index(&self, byte: usize) -> usize {
        self.0.partition_point(|base| *base <= byte) - 1
    }
}
