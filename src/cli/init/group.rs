//! The group of the service, which may read keys that belong to somebody else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result};

/// Where the groups of this machine are listed.
const LIST: &str = "/etc/group";

/// A group of this machine, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group(u32);

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse() {
            return Ok(Self(number));
        }
        let list = fs::read_to_string(LIST).map_err(|fault| format!("{LIST}: {fault}"))?;
        let number = number_of(text, &list);
        number
            .map(Self)
            .ok_or_else(|| format!("{LIST} has no such group"))
    }
}

impl Group {
    /// Lets the group read a file.
    pub(super) fn let_read(self, file: &Path) -> Result<()> {
        self.give(file, 0o640)
    }

    /// Lets the group look into a folder.
    pub(super) fn let_into(self, folder: &Path) -> Result<()> {
        self.give(folder, 0o750)
    }

    /// The group first: until then nobody of it may read more than before.
    fn give(self, path: &Path, mode: u32) -> Result<()> {
        chown(path, None, Some(self.0))
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
            .with_context(|| format!("cannot let group {} read {}", self.0, path.display()))
    }
}

/// The number of a group in a list of lines `name:password:number:members`.
fn number_of(name: &str, list: &str) -> Option<u32> {
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name))
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name_and_by_number() {
        let list = "root:x:0:\namtpd:x:997:a,b\nbroken:x\nodd:x:many:\n";
        assert_eq!(number_of("amtpd", list), Some(997));
        for missing in ["amtp", "broken", "odd", ""] {
            assert_eq!(number_of(missing, list), None, "{missing}");
        }
        assert_eq!("997".parse(), Ok(Group(997)));
        assert_eq!("root".parse(), Ok(Group(0)));
        assert!("no such group".parse::<Group>().is_err());
    }
}
