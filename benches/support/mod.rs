//! Stores to measure in.

pub(crate) mod measure;

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;

use pdkeys::manage::Founding;
use pdkeys::model::{Name, Noun, Policy, Secret};
use pdkeys::ports::{SystemClock, SystemEntropy};
use pdkeys::store::sqlite::SqliteStore;
use pdkeys::store::{Place, Store as _};
use rusqlite::{Connection, params};

use self::measure::say;

/// Crockford's base 32, as in ids.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Odd, so that a multiplication by it never makes two numbers the same.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// 2026-01-01, in milliseconds since 1970.
const FIRST_MADE: u64 = 1_767_225_600_000;
const DAY: u64 = 86_400_000;
/// A million digests in random order: quick only if the whole table fits into memory, and nothing is synced.
pub(crate) const QUICKLY: &str =
    "PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; PRAGMA wal_autocheckpoint = 0";

/// Where the store in a directory is.
pub(crate) fn store_in(directory: &Path) -> Place {
    Place::new(directory.join("store.db"))
}

/// Makes a store of so many general keys in a directory. One in twenty is disabled, one in ten is read-only, one in
/// ten has scopes, one in four an end.
pub(crate) fn make_store(directory: &Path, keys: u64) -> Result<Place, Box<dyn Error>> {
    let place = store_in(directory);
    let founding = Founding {
        account: Name::parse(Noun::Account, "bench")?,
        policy: Policy::default(),
        owner: Name::parse(Noun::User, "owner")?,
        os_uid: fs::metadata(directory)?.uid(),
    };
    drop::<SqliteStore>(founding.make_store(&place, &SystemClock, &mut SystemEntropy)?);
    fill(&place, keys)?;
    Ok(place)
}

/// A store of so many keys in a directory of stores: the one that is there, or else one that is made. It is there once
/// it is whole.
pub(crate) fn kept_store(stores: &Path, keys: u64) -> Result<Place, Box<dyn Error>> {
    let directory = stores.join(keys.to_string());
    if !directory.exists() {
        let started = Instant::now();
        let draft = stores.join(format!("{keys}.draft"));
        if draft.exists() {
            fs::remove_dir_all(&draft)?;
        }
        fs::create_dir_all(&draft)?;
        make_store(&draft, keys)?;
        fs::rename(draft, &directory)?;
        say(&format!("made a store of {keys} keys in {:.1} s", started.elapsed().as_secs_f64()))?;
    }
    Ok(store_in(&directory))
}

fn fill(place: &Place, keys: u64) -> Result<(), Box<dyn Error>> {
    let mut store = SqliteStore::open(place)?;
    let mut connection = Connection::open(place.database())?;
    connection.execute_batch(QUICKLY)?;
    let keyring = store.keyring()?;
    let tx = connection.transaction()?;
    {
        let owner: String = tx.query_row("SELECT id FROM user", [], |row| row.get(0))?;
        let mut key = tx.prepare(
            "INSERT INTO general_key (row, id, description, hint, access, scopes, created_at, created_by, disabled_at,
                 disabled_by, disabled_reason, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?;
        let mut digest =
            tx.prepare("INSERT INTO digest (digest, kind, holder) VALUES (?1, 'general', ?2)")?;
        for number in 1..=keys {
            let secret = Secret::presented(secret(number));
            let (access, scopes) = match number % 10 {
                0 => ("read-only", None),
                1 => ("scopes", Some("incidents.read services.read")),
                _ => ("full", None),
            };
            let made = FIRST_MADE + number;
            let disabled = number % 20 == 7;
            key.execute(params![
                number,
                id(number),
                format!("deploy pipeline of service {number}"),
                secret.hint().as_str(),
                access,
                scopes,
                made,
                owner,
                disabled.then_some(made + DAY),
                disabled.then_some(owner.as_str()),
                disabled.then_some("key-compromise"),
                (number % 4 == 3).then_some(made + 3650 * DAY),
            ])?;
            digest.execute(params![keyring.digest(&secret.fingerprint()).as_bytes(), number])?;
        }
    }
    tx.commit()?;
    Ok(())
}

/// The id of the key with a number.
pub(crate) fn id(number: u64) -> String {
    let spread = number.wrapping_mul(SPREAD);
    let character = |at: u32| char::from(ALPHABET[usize::from((spread >> (5 * at)).to_le_bytes()[0] & 31)]);
    std::iter::once('K').chain((0..8).map(character)).collect()
}

/// The secret of the key with a number, in the shape of a general key's.
pub(crate) fn secret(number: u64) -> String {
    format!("y_{:018x}", u128::from(number).wrapping_mul(u128::from(SPREAD)) & 0xff_ffff_ffff_ffff_ffff)
}
