//! `try_files`, compiled.

use crate::vars::Template;

/// What is looked for before a location answers.
#[derive(Clone, Debug)]
pub struct TryFiles {
    /// Files and folders in their order.
    pub files: Box<[TriedFile]>,
    /// What is done where none of them is there.
    pub last: TryLast,
}

/// A file, or a folder.
#[derive(Clone, Debug)]
pub struct TriedFile {
    /// Below `root`.
    pub path: Template,
    /// It must be a folder.
    pub is_folder: bool,
}

/// The end of `try_files`.
#[derive(Clone, Debug)]
pub enum TryLast {
    /// A status.
    Status(u16),
    /// A URI, or `@NAME`.
    To(Template),
}
