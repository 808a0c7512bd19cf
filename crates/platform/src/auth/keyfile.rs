//! The signing key on disk: made once, whole or not at all, by whichever process comes first.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, bail};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding},
};
use uuid::Uuid;

/// The key's file name inside the data folder.
const FILE: &str = "token-key.pem";

/// Reads the key in `dir`, making it (and the folder) if it is not there.
pub(super) fn load_or_create(dir: &Path) -> anyhow::Result<SigningKey> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => return read(&path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    // Whoever won a race: the file that is there now is the key.
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    read(&path, &text)
}

/// A fresh key.
pub(super) fn generate() -> SigningKey {
    SigningKey::from_bytes(&rand::random())
}

fn read(path: &Path, text: &str) -> anyhow::Result<SigningKey> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "{} can be read by others (mode {:o}); `chmod 600` it, or delete it if they may have \
             (every token becomes invalid)",
            path.display(),
            mode & 0o777
        );
    }
    SigningKey::from_pkcs8_pem(text).map_err(|error| {
        anyhow::anyhow!(
            "{} is not an Ed25519 key in PKCS#8 PEM ({error}); delete it to have a new one made \
             (every token becomes invalid)",
            path.display()
        )
    })
}

/// Puts a new key at `path` unless one is there. It is written beside it and linked into place, so
/// that nobody ever reads half a key, and the first of several processes wins.
fn create(path: &Path) -> anyhow::Result<()> {
    let pem = generate()
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| anyhow::anyhow!("the key cannot be encoded: {error}"))?;
    let draft = path.with_extension(format!("{}.draft", Uuid::new_v4().simple()));
    let written = write(&draft, pem.as_bytes()).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // A draft that cannot be removed is litter, not a failure.
    let _ = fs::remove_file(&draft);
    Ok(written?)
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::*;

    fn scratch() -> std::path::PathBuf {
        std::env::temp_dir().join(format!("jitney-key-{}", Uuid::new_v4().simple()))
    }

    #[test]
    fn all_who_race_end_up_with_the_same_key() {
        let dir = scratch();
        let racers: Vec<_> = (0..16)
            .map(|_| {
                let dir = dir.clone();
                thread::spawn(move || load_or_create(&dir).unwrap().to_bytes())
            })
            .collect();
        let keys: HashSet<_> = racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect();
        assert_eq!(keys.len(), 1);
        let files: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|f| f.unwrap().file_name())
            .collect();
        assert_eq!(files, [FILE]);
        let mode = fs::metadata(dir.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let dir = scratch();
        load_or_create(&dir).unwrap();
        let path = dir.join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            load_or_create(&dir)
                .unwrap_err()
                .to_string()
                .contains("chmod 600")
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "nonsense").unwrap();
        assert!(
            load_or_create(&dir)
                .unwrap_err()
                .to_string()
                .contains("PKCS#8")
        );
        fs::remove_dir_all(dir).unwrap();
    }
}
