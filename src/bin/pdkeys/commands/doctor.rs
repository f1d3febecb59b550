//! The command `pdkeys doctor`.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use pdkeys::manage::{Ailment, Checkup};
use pdkeys::model::{Id, parse_duration};
use pdkeys::store::Fault;
use serde::Serialize;

use super::audit::in_words;
use crate::failure::{Exit, Failure};
use crate::output::times;
use crate::output::{self, CellStyle, Format, Record};
use crate::session::{Context, FirstUse};

/// The largest number of ids that a finding names. Its remedy lists all of them.
const NAMED: usize = 3;

/// Look for what is wrong with the store and its keys
///
/// Checks who can read the files, whether database and audit trail are intact, whether the store matches the trail, the
/// store key, and the clock; and looks for keys that end soon, are not used, or never end. Each finding has a remedy. Exits
/// with 3 if one is a problem.
#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Name keys that end within this time
    #[arg(long, value_name = "LENGTH", default_value = "14d")]
    expiring_within: String,

    /// Name keys not used for this long
    #[arg(long, value_name = "LENGTH", default_value = "90d")]
    unused_for: String,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// Something is broken, or open to others.
    Problem,
    /// Worth knowing.
    Notice,
}

/// A finding as it is printed.
#[derive(Debug, Serialize)]
struct AilmentRecord {
    severity: Severity,
    about: String,
    finding: String,
    remedy: String,
}

impl Record for AilmentRecord {
    const FIELDS: &'static [&'static str] = &["severity", "about", "finding", "remedy"];
    const HEADINGS: &'static [&'static str] = &["SEVERITY", "ABOUT", "FINDING", "REMEDY"];

    fn cells(&self, _: &CellStyle) -> Vec<String> {
        let severity = match self.severity {
            Severity::Problem => "problem",
            Severity::Notice => "notice",
        };
        vec![severity.to_owned(), self.about.clone(), self.finding.clone(), self.remedy.clone()]
    }
}

impl Doctor {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            let now = session.at();
            let checkup = Checkup {
                expiring_within: parse_duration("expiring within", &self.expiring_within, now)?,
                unused_for: parse_duration("unused for", &self.unused_for, now)?,
            };
            let found: Vec<_> =
                session.examine(checkup)?.iter().map(|ailment| self.record(ailment, now)).collect();
            let problem = found.iter().any(|record| record.severity == Severity::Problem);
            if found.is_empty() {
                context.terminal.done("Examined", "the store; there is nothing to do");
            }
            if !(found.is_empty() && context.output == Format::Table) {
                output::list(&context.terminal, context.output, now, |emit| {
                    found.into_iter().try_for_each(emit).map_err(Failure::from)
                })?;
            }
            Ok(if problem { Exit::No } else { Exit::Done })
        })
    }

    fn record(&self, ailment: &Ailment, now: Timestamp) -> AilmentRecord {
        use Severity::{Notice, Problem};
        let record = |severity, about: String, finding: String, remedy: String| AilmentRecord {
            severity,
            about,
            finding,
            remedy,
        };
        match ailment {
            Ailment::Store(fault) => of_store(fault),
            Ailment::Clock(latest) => {
                let ahead = SignedDuration::from_secs(latest.duration_since(now).as_secs());
                let finding = format!("something happened {ahead:#} from now, at {}", times::exact(*latest));
                let remedy = "set the clock right: ends and rate limits go by it".to_owned();
                record(Problem, "clock".to_owned(), finding, remedy)
            }
            Ailment::Expiring(ids) => {
                let within = &self.expiring_within;
                let remedy = format!("pdkeys list --expiring-within {within}, and rotate or edit them");
                record(Notice, named(ids), format!("{} within {within}", count(ids, "ends", "end")), remedy)
            }
            Ailment::Unused(ids) => {
                let length = &self.unused_for;
                let remedy = format!("pdkeys list --unused-for {length}, and disable what is not needed");
                record(
                    Notice,
                    named(ids),
                    format!("{} used for {length}", count(ids, "was not", "were not")),
                    remedy,
                )
            }
            Ailment::NeverExpiring(ids) => {
                let remedy = "pdkeys edit ID --expires WHEN gives one an end".to_owned();
                record(Notice, named(ids), count(ids, "never ends", "never end"), remedy)
            }
        }
    }
}

fn of_store(fault: &Fault) -> AilmentRecord {
    use Severity::{Notice, Problem};
    let (severity, about, finding, remedy) = match fault {
        Fault::Exposed { path, mode } => {
            // A directory reveals only names, not the content of files.
            let (severity, right) = if path.is_dir() { (Notice, "0700") } else { (Problem, "0600") };
            let about = path.display().to_string();
            let remedy = format!("chmod {right} {about}");
            (severity, about, format!("can be read by others (mode {mode:04o})"), remedy)
        }
        Fault::Damaged(why) => {
            let remedy = "pdkeys restore FILE puts a backup in its place".to_owned();
            (Problem, "store".to_owned(), format!("damaged: {why}"), remedy)
        }
        Fault::BrokenChain(number) => {
            let remedy =
                "records were altered, inserted or left out: compare pdkeys audit list with that of a backup";
            (Problem, "audit trail".to_owned(), format!("broken at record {number}"), remedy.to_owned())
        }
        Fault::Differs(difference) => {
            let remedy = "no record tells of it: put it right with pdkeys, or restore a backup from before";
            (Problem, difference.id.clone(), in_words(difference), remedy.to_owned())
        }
        Fault::DiffersFurther(count) => {
            let remedy = "pdkeys audit verify -o json names more of them".to_owned();
            (Problem, "store".to_owned(), format!("{count} more differences from the audit trail"), remedy)
        }
        Fault::StoreKey(error) => {
            let remedy =
                "put the store key back from where it is kept; only reading works without".to_owned();
            (Problem, "store key".to_owned(), error.to_string(), remedy)
        }
        Fault::UsageFile(error) => {
            let remedy = "move it away, with its -wal and -shm: only counts are lost".to_owned();
            (Problem, "usage file".to_owned(), error.to_string(), remedy)
        }
        Fault::LeftBehind(path) => {
            let about = path.display().to_string();
            let remedy = format!("rm {about}, if no pdkeys is running");
            (Notice, about, "left behind by a run that was killed".to_owned(), remedy)
        }
        Fault::Replaced(path) => {
            let about = path.display().to_string();
            let remedy = format!("rm {about}, once it is not needed any more");
            (Notice, about, "a store that a backup took the place of".to_owned(), remedy)
        }
    };
    AilmentRecord { severity, about, finding, remedy }
}

/// Returns the first few of some ids.
fn named(ids: &[Id]) -> String {
    let mut text = ids.iter().take(NAMED).map(Id::to_string).collect::<Vec<_>>().join(" ");
    if ids.len() > NAMED {
        text.push_str(" ...");
    }
    text
}

fn count(ids: &[Id], one: &str, many: &str) -> String {
    match ids.len() {
        1 => format!("1 key {one}"),
        number => format!("{number} keys {many}"),
    }
}
