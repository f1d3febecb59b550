//! What a scan finds, as it is printed.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::io;
use std::ops::Range;

use pdkeys::model::{Hint, Noun};
use pdkeys::scan::{Finding, ScanError, Scanner};
use pdkeys::store::CredentialStatus;
use pdkeys::store::sqlite::SqliteStore;
use serde::{Serialize, Serializer};

use crate::output::{CellStyle, Record, sarif};

/// The name of a file, which can have any bytes. Those that are not UTF-8 are shown as `\xFF`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName(Vec<u8>);

impl FileName {
    /// Makes a name in which each secret of the store is replaced by its kind and id.
    pub(super) fn without_secrets(
        scanner: &mut Scanner<SqliteStore>,
        name: &[u8],
    ) -> Result<Self, pdkeys::Error> {
        Ok(Self::with_found_taken_out(name, &scanner.find(name)?))
    }

    /// Makes a name in which each finding is replaced by its kind and id.
    pub(super) fn with_found_taken_out(name: &[u8], found: &[(Range<usize>, Finding)]) -> Self {
        let mut found: Vec<_> = found.iter().collect();
        found.sort_by_key(|(place, _)| place.start);
        let mut shown = Vec::with_capacity(name.len());
        let mut at = 0;
        for (place, finding) in found {
            if place.start >= at {
                shown.extend_from_slice(&name[at..place.start]);
                let what = format!("({} {})", kind(finding).unwrap_or("secret"), finding.id);
                shown.extend_from_slice(what.as_bytes());
            }
            at = at.max(place.end);
        }
        shown.extend_from_slice(&name[at..]);
        Self(shown)
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for FileName {
    fn from(name: &str) -> Self {
        Self(name.as_bytes().to_owned())
    }
}

impl Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02X}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for FileName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A key that was found, as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct FoundRecord {
    pub(super) file: FileName,
    pub(super) commit: Option<String>,
    /// Counted from 1; 0 is the name of the file.
    pub(super) line: u64,
    pub(super) kind: Option<&'static str>,
    pub(super) id: String,
    pub(super) description: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) status: &'static str,
}

/// Returns the kind of a finding, as it is printed.
fn kind(finding: &Finding) -> Option<&'static str> {
    match (finding.kind, finding.id.noun()) {
        (Some(kind), _) => Some(kind.as_str()),
        (None, Noun::App) => Some("client-secret"),
        (None, _) => None,
    }
}

impl FoundRecord {
    pub(super) fn new(file: FileName, commit: Option<String>, finding: Finding) -> Self {
        let kind = kind(&finding);
        let Finding { line, id, description, hint, standing, .. } = finding;
        let hint = hint.as_ref().map(Hint::to_string);
        Self { file, commit, line, kind, id: id.to_string(), description, hint, status: standing.as_str() }
    }

    /// Makes the record of a finding in the name of a file.
    pub(super) fn in_name(file: FileName, finding: Finding) -> Self {
        Self::new(file, None, Finding { line: 0, ..finding })
    }

    /// Returns whether the key works.
    pub(super) fn is_live(&self) -> bool {
        self.status == CredentialStatus::Live.as_str()
    }

    /// Describes the finding in a sentence.
    fn message(&self) -> String {
        let called = self.description.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
        let commit = self.commit.as_ref().map(|commit| format!(", in commit {commit}")).unwrap_or_default();
        format!("{} {}{called} is {}{commit}", self.kind.unwrap_or("secret"), self.id, self.status)
    }

    pub(super) fn sarif(&self) -> sarif::Finding<'_> {
        sarif::Finding {
            is_live: self.is_live(),
            message: self.message(),
            path: self.file.as_bytes(),
            line: self.line,
            fingerprint: format!("{}:{}", self.id, self.file),
        }
    }

    /// Returns the command that ends it, if it works.
    pub(super) fn remedy(&self) -> Option<String> {
        let id = &self.id;
        match self.kind {
            _ if !self.is_live() => None,
            Some("general") => Some(format!("pdkeys disable {id} --reason key-compromise")),
            Some("user-token") => Some(format!("pdkeys token remove {id} --reason key-compromise")),
            Some("integration") => Some(format!("pdkeys integration remove {id}")),
            Some("app-token") => Some(format!("pdkeys app edit {id} --revoke-tokens")),
            _ => Some(format!("pdkeys app rotate {id}")),
        }
    }
}

impl Record for FoundRecord {
    const FIELDS: &'static [&'static str] =
        &["file", "commit", "line", "kind", "id", "description", "hint", "status"];
    const HEADINGS: &'static [&'static str] =
        &["FILE", "LINE", "KIND", "ID", "DESCRIPTION", "HINT", "STATUS"];

    fn cells(&self, _: &CellStyle) -> Vec<String> {
        let commit = self.commit.as_ref().map(|commit| format!("{}:", &commit[..commit.len().min(12)]));
        vec![
            format!("{}{}", commit.unwrap_or_default(), self.file),
            if self.line == 0 { "name".to_owned() } else { self.line.to_string() },
            self.kind.unwrap_or_default().to_owned(),
            self.id.clone(),
            self.description.clone().unwrap_or_default(),
            self.hint.as_ref().map(|hint| format!("...{hint}")).unwrap_or_default(),
            self.status.to_owned(),
        ]
    }
}

/// The result of a scan.
#[derive(Default)]
pub(super) struct Report {
    pub(super) found: BTreeSet<FoundRecord>,
    pub(super) unread: Vec<String>,
    pub(super) archives: u64,
}

impl Report {
    pub(super) fn unread(&mut self, what: &dyn Display, why: &dyn Display) {
        self.unread.push(format!("{what} was not read: {why}"));
    }

    pub(super) fn append(&mut self, mut part: Self) {
        self.found.append(&mut part.found);
        self.unread.append(&mut part.unread);
        self.archives += part.archives;
    }
}

/// Scans one input, and adds what is found to the report.
pub(super) fn scan_one(
    scanner: &mut Scanner<SqliteStore>,
    input: &mut dyn io::Read,
    file: &FileName,
    report: &mut Report,
) -> Result<(), ScanError> {
    scanner.scan(input, &mut |finding| {
        report.found.insert(FoundRecord::new(file.clone(), None, finding));
    })
}
