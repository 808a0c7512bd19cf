//! Which user the server runs as. PostgreSQL refuses to run as root, so root lends it another.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::Command,
};

use anyhow::{Context, bail};
use nix::unistd::{Gid, Uid, User, chown, geteuid};

/// Users the server may run as when we are root, the best first.
const STAND_INS: [&str; 2] = ["postgres", "nobody"];

/// The user the server runs as.
#[derive(Clone, Debug)]
pub(super) enum Account {
    /// Ours.
    Own,
    /// Another, because we are root.
    StandIn { name: String, uid: Uid, gid: Gid },
}

impl Account {
    pub(super) fn choose() -> anyhow::Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self::Own);
        }
        for name in STAND_INS {
            let user = User::from_name(name).context("the users of this machine cannot be read")?;
            if let Some(user) = user {
                return Ok(Self::StandIn {
                    name: user.name,
                    uid: user.uid,
                    gid: user.gid,
                });
            }
        }
        bail!(
            "PostgreSQL does not run as root, and this machine has no user `postgres` or `nobody` \
             to run it: add one, start as another user, or set DATABASE_URL"
        )
    }

    /// Has `command` run as this user.
    pub(super) fn apply(&self, command: &mut Command) {
        if let Self::StandIn { uid, gid, .. } = self {
            // Being root, this also drops every supplementary group.
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
    }

    /// Gives `path` to this user.
    pub(super) fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Self::StandIn { name, uid, gid } = self {
            chown(path, Some(*uid), Some(*gid))
                .with_context(|| format!("cannot give {} to user {name}", path.display()))?;
        }
        Ok(())
    }

    /// Whether this user can get to `path`, which exists.
    pub(super) fn reaches(&self, path: &Path) -> bool {
        let Self::StandIn { uid, gid, .. } = self else {
            return true;
        };
        let Ok(path) = path.canonicalize() else {
            return false;
        };
        path.ancestors().all(|folder| {
            fs::metadata(folder).is_ok_and(|meta| {
                let needed = if meta.uid() == uid.as_raw() {
                    0o100
                } else if meta.gid() == gid.as_raw() {
                    0o010
                } else {
                    0o001
                };
                meta.mode() & needed != 0
            })
        })
    }

    /// Whether `path` is this user's and nobody else may enter it.
    pub(super) fn owns_alone(&self, path: &Path) -> bool {
        let uid = match self {
            Self::Own => geteuid(),
            Self::StandIn { uid, .. } => *uid,
        };
        fs::symlink_metadata(path).is_ok_and(|meta| {
            meta.is_dir() && meta.uid() == uid.as_raw() && meta.mode() & 0o077 == 0
        })
    }
}
