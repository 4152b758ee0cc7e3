//! The last table and the last certificates, kept on disk so that an edge that starts alone serves at once.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use temps_core::table::{Certificates, Table};
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use crate::config::EdgeError;

const TABLE: &str = "table.json";
const CERTIFICATES: &str = "certificates.json";

/// Makes this the only edge of the directory, as long as the file is open, also in an edge that takes over.
pub(crate) fn lock(data_dir: &Path) -> Result<File, EdgeError> {
    let path = data_dir.join("edge.lock");
    let refuse = |source| EdgeError::File { path: path.clone(), source };
    fs::create_dir_all(data_dir).map_err(refuse)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(refuse)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EdgeError::Running(data_dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(refuse(source)),
    }
}

/// The last table. One that cannot be read is worth as much as none: the server sends another.
pub(crate) fn load(data_dir: &Path) -> Option<Table> {
    read(data_dir, TABLE)
}

fn read<T: DeserializeOwned>(data_dir: &Path, name: &str) -> Option<T> {
    let path = data_dir.join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!(path = %path.display(), %error, "what was kept cannot be read");
            return None;
        }
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| warn!(path = %path.display(), %error, "what was kept is damaged"))
        .ok()
}

fn save<T: Serialize>(data_dir: &Path, name: &str, value: &T) -> io::Result<()> {
    let (path, temporary) = (data_dir.join(name), data_dir.join(format!("{name}.new")));
    // Keys of certificates are nobody else's business.
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(data_dir)?.sync_all()
}

/// The last certificates.
pub(crate) fn load_certificates(data_dir: &Path) -> Certificates {
    read(data_dir, CERTIFICATES).unwrap_or_default()
}

/// Keeps them for an edge that starts alone.
pub(crate) fn save_certificates(data_dir: &Path, certificates: &Certificates) {
    if let Err(error) = save(data_dir, CERTIFICATES, certificates) {
        error!(%error, "the certificates cannot be saved");
    }
}

/// A table and its number.
pub(crate) type Numbered = Option<(u64, Arc<Table>)>;

/// Saves the newest table whenever there is one, and notes its number. No table is acknowledged before it is
/// saved: after a crash an edge must not serve an instance again that it said it had withdrawn.
pub(crate) async fn keep(
    data_dir: std::path::PathBuf,
    mut tables: watch::Receiver<Numbered>,
    saved: Arc<AtomicU64>,
    news: Arc<Notify>,
) {
    while tables.changed().await.is_ok() {
        let Some((seq, table)) = tables.borrow_and_update().clone() else { continue };
        let directory = data_dir.clone();
        let saving = tokio::task::spawn_blocking(move || {
            if let Err(error) = save(&directory, TABLE, &*table) {
                // Serving goes on. Without a table an edge answers 503 after a crash, which is better than
                // serving what is no longer true.
                error!(%error, "the table cannot be saved");
                if let Err(error) = fs::remove_file(directory.join(TABLE)) {
                    error!(%error, "nor can the one before be removed");
                }
            }
        });
        if saving.await.is_err() {
            error!("saving the table failed");
        }
        saved.store(seq, Ordering::Release);
        news.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::{load, lock, save};
    use crate::EdgeError;
    use temps_core::table::Table;

    #[test]
    fn a_table_survives_and_a_damaged_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        assert!(load(directory.path()).is_none());
        let mut table = Table { index: 7, ..Table::default() };
        table
            .peers
            .insert(temps_core::model::NodeId(2), temps_core::table::Peer { address: "h:1".to_owned() });
        save(directory.path(), "table.json", &table).unwrap();
        assert_eq!(load(directory.path()), Some(table));
        std::fs::write(directory.path().join("table.json"), b"{\"index\": 7, \"rou").unwrap();
        assert!(load(directory.path()).is_none());
    }

    #[test]
    fn one_edge_for_each_directory() {
        let directory = tempfile::tempdir().unwrap();
        let first = lock(directory.path()).unwrap();
        assert!(matches!(lock(directory.path()), Err(EdgeError::Running(_))));
        drop(first);
        assert!(lock(directory.path()).is_ok());
    }
}
