//! The files of a folder, in the order of their names. Everything is bounded; nothing but files is
//! opened.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::fault::{FaultList, PolicyFaults};
use super::reading::LARGEST_FILE;
use crate::config::Place;

/// Files of one folder.
const MOST_FILES: usize = 256;

/// Reads all `*.yaml` and `*.yml` of a folder, hidden ones left out.
///
/// # Errors
/// Every file that cannot be read, and a folder that cannot.
pub fn read_folder(folder: &Path) -> Result<Vec<(PathBuf, String)>, PolicyFaults> {
    let mut faults = FaultList::default();
    let files = list(folder, &mut faults);
    finish(read_all(&files, &mut faults), faults)
}

/// Reads these files, and of folders among them all files as [`read_folder`] does.
///
/// # Errors
/// Every file that cannot be read.
pub fn read_files(paths: &[PathBuf]) -> Result<Vec<(PathBuf, String)>, PolicyFaults> {
    let mut faults = FaultList::default();
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(list(path, &mut faults)),
            false => files.push(path.clone()),
        }
    }
    finish(read_all(&files, &mut faults), faults)
}

type Texts = Vec<(PathBuf, String)>;

fn finish(texts: Texts, faults: FaultList) -> Result<Texts, PolicyFaults> {
    faults.finish().map_or(Ok(texts), Err)
}

fn list(folder: &Path, faults: &mut FaultList) -> Vec<PathBuf> {
    match names(folder) {
        Ok(files) if files.len() > MOST_FILES => {
            let text = format!("holds more than {MOST_FILES} policy files; put them together");
            fault(faults, folder, text);
            Vec::new()
        }
        Ok(mut files) => {
            files.sort();
            files
        }
        Err(error) => {
            fault(faults, folder, format!("cannot be read: {error}"));
            Vec::new()
        }
    }
}

/// One more than too many are enough to know it.
fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_policy_file(&path) {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            break;
        }
    }
    Ok(files)
}

/// Whether a name is that of a policy file. Editors keep their own under hidden names.
pub(super) fn is_policy_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default();
    !name.starts_with('.') && (extension == "yaml" || extension == "yml")
}

fn read_all(files: &[PathBuf], faults: &mut FaultList) -> Texts {
    let mut texts = Vec::new();
    for file in files {
        match read(file) {
            Ok(text) => texts.push((file.clone(), text)),
            Err(error) => fault(faults, file, in_words(&error)),
        }
    }
    texts
}

fn read(file: &Path) -> io::Result<String> {
    // A pipe would be waited for.
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("is no file; remove it or rename it"));
    }
    let mut text = String::new();
    // One byte more shows that it is too large.
    let most = u64::try_from(LARGEST_FILE).unwrap_or(u64::MAX) + 1;
    File::open(file)?.take(most).read_to_string(&mut text)?;
    Ok(text)
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
        io::ErrorKind::Other => error.to_string(),
        _ => format!("cannot be read: {error}"),
    }
}

fn fault(faults: &mut FaultList, file: &Path, text: String) {
    let place = || Place::File {
        file: file.to_owned(),
        line: None,
        column: None,
    };
    faults.add(place, "", text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_folder_come_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "20-b.yml",
            "10-a.yaml",
            ".hidden.yaml",
            "note.txt",
            "x.yaml~",
        ] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let files = read_folder(folder.path()).unwrap();
        let texts: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["10-a.yaml", "20-b.yml"]);
        let one = read_files(&[folder.path().join("20-b.yml"), folder.path().into()]).unwrap();
        assert_eq!(one.len(), 3);
    }

    #[test]
    fn every_file_that_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), b"\xff\xfe").unwrap();
        fs::create_dir(folder.path().join("b.yaml")).unwrap();
        fs::write(folder.path().join("c.yaml"), "x").unwrap();
        let text = read_folder(folder.path()).unwrap_err().to_string();
        assert!(text.contains("a.yaml: is not UTF-8 text"), "{text}");
        assert!(text.contains("b.yaml: is no file"), "{text}");
        let text = read_folder(&folder.path().join("nowhere")).unwrap_err();
        assert!(
            text.to_string().contains("nowhere: cannot be read"),
            "{text}"
        );
    }

    #[test]
    fn too_many_files_and_too_large_ones_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=MOST_FILES {
            fs::write(folder.path().join(format!("{number}.yaml")), "").unwrap();
        }
        let text = read_folder(folder.path()).unwrap_err().to_string();
        assert!(text.contains("more than 256 policy files"), "{text}");
        let large = folder.path().join("large");
        fs::write(&large, "x".repeat(3 << 20)).unwrap();
        let files = read_files(&[large]).unwrap();
        assert_eq!(files[0].1.len(), LARGEST_FILE + 1);
    }
}
