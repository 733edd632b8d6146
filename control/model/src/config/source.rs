//! Sources of a configuration: the texts of its files, which whoever reads files has brought together.

use serde::{Deserialize, Serialize};

use super::Config;

/// Text of a file, and the name that errors call it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Name of the file.
    pub name: String,
    /// Text of the file.
    pub text: String,
}

/// Texts of a whole configuration: that of its main file, and those of the files that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// Main file.
    pub main: Source,
    /// Files that `include` of the main file names, a pattern each.
    #[serde(default)]
    pub includes: Vec<Include>,
    /// Files that keys of the configuration name.
    #[serde(default)]
    pub named: Vec<NamedFile>,
}

/// Files that a pattern of `include` matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Include {
    /// Pattern as it is written.
    pub pattern: String,
    /// Files in sorted order, or why none can be found.
    pub files: Result<Vec<IncludedFile>, String>,
}

/// File that a pattern of `include` matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncludedFile {
    /// Path of the file, which errors call it by.
    pub name: String,
    /// Text of the file, or why it could not be read.
    pub text: Result<String, String>,
}

/// Content of a file that a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Seed of the fleet.
    Seed,
    /// Token of the metrics' listener.
    Token,
    /// Endpoints of a backend group.
    Endpoints,
    /// Answer of the domain name system that is the endpoints of a backend group, in the form of a file of them.
    Dns,
}

/// File that a key of the configuration names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFile {
    /// Content of the file.
    pub kind: FileKind,
    /// Index of the file that names it: 0 is the main file, and those that are included follow.
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
        Self {
            main: Source { name: name.into(), text: text.into() },
            includes: Vec::new(),
            named: Vec::new(),
        }
    }

    /// True of a configuration that names no other files.
    pub fn is_one_file(&self) -> bool {
        self.includes.is_empty() && self.named.is_empty()
    }

    /// Files of the configuration itself, each with its text: the main one, and those that it includes.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let included = self.includes.iter().filter_map(|include| include.files.as_ref().ok()).flatten();
        let readable = included.filter_map(|file| Some((&*file.name, &**file.text.as_ref().ok()?)));
        std::iter::once((&*self.main.name, &*self.main.text)).chain(readable)
    }

    /// Files of endpoints, to put other texts into them.
    pub fn endpoints_files_mut(&mut self) -> impl Iterator<Item = &mut NamedFile> {
        self.named.iter_mut().filter(|file| file.kind == FileKind::Endpoints)
    }

    /// Brings in the answers of the domain name system that another configuration has.
    pub fn bring_answers(&mut self, of: &Self) {
        self.named.retain(|file| file.kind != FileKind::Dns);
        self.named.extend(of.named.iter().filter(|file| file.kind == FileKind::Dns).cloned());
    }

    /// Has an answer for each question of a configuration, which says that there is none yet if the question is new, and
    /// no others.
    pub fn expect_answers(&mut self, config: &Config) {
        let mut answers: Vec<NamedFile> = Vec::new();
        for question in config.groups.iter().filter_map(|group| group.endpoints_dns.as_ref()) {
            let path = question.to_string();
            if answers.iter().any(|answer| answer.path == path) {
                continue;
            }
            let known = self.named.iter().find(|file| file.kind == FileKind::Dns && file.path == path);
            let none_yet = || question.file(Err("there is no answer yet".to_owned()));
            answers.push(known.cloned().unwrap_or_else(none_yet));
        }
        self.named.retain(|file| file.kind != FileKind::Dns);
        self.named.extend(answers);
    }

    /// Texts that errors can be about, in the order in which spans count their bytes.
    pub(super) fn texts(&self) -> Vec<Text<'_>> {
        let endpoints =
            self.endpoints_files().filter_map(|file| Some((&*file.name, &**file.text.as_ref().ok()?)));
        self.files().chain(endpoints).map(|(name, text)| Text { name, text }).collect()
    }

    /// Files of endpoints, and answers of the domain name system that stand for some.
    pub fn endpoints_files(&self) -> impl Iterator<Item = &NamedFile> {
        self.named.iter().filter(|file| matches!(file.kind, FileKind::Endpoints | FileKind::Dns))
    }

    /// Number of bytes of all files.
    pub(super) fn bytes(&self) -> usize {
        let named = self.named.iter().filter_map(|file| file.text.as_ref().ok());
        self.files().map(|(_, text)| text.len()).chain(named.map(String::len)).sum()
    }

    /// File of a secret of this kind whose path is written at this byte.
    pub(super) fn secret_file(&self, kind: FileKind, byte: usize, path: &str) -> Option<&NamedFile> {
        let named_in = Bases::of(&self.texts()).index(byte);
        let is_it = |file: &NamedFile| (file.kind, file.named_in, &*file.path) == (kind, named_in, path);
        self.named.iter().find(|file| is_it(file))
    }
}

/// Text of a file, and its name, of [`Sources`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'s> {
    pub(super) name: &'s str,
    pub(super) text: &'s str,
}

/// First byte of each text in the one count of bytes that spans have: texts follow each other, one byte apart.
#[derive(Clone, Debug)]
pub(super) struct Bases(Vec<usize>);

impl Bases {
    pub(super) fn of(texts: &[Text<'_>]) -> Self {
        let next = |next: &mut usize, source: &Text<'_>| {
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
