//! Where a config's text comes from: a file, an environment variable, or S3.

use std::fs::File;
use std::io::Read;

use super::problem::Problems;
use super::substitute::Vars;
use super::yaml::MAX_TEXT;

/// Names a config, as `--config` does.
pub const PATH_VARIABLE: &str = "LOGWEIR_CONFIG";
/// Holds a config, so that a task definition can carry it.
pub const YAML_VARIABLE: &str = "LOGWEIR_CONFIG_YAML";

/// A config's text and what errors call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The path, the URL or the variable.
    pub name: String,
    /// The text.
    pub text: String,
}

/// Finds the text: what `--config` names comes first, then the environment. An empty variable counts as none.
pub fn find(flag: Option<&str>, vars: &Vars<'_>) -> Result<Text, Problems> {
    if let Some(place) = flag {
        return read(place);
    }
    let set = |name| vars(name).filter(|value| !value.trim().is_empty());
    match (set(PATH_VARIABLE), set(YAML_VARIABLE)) {
        (Some(_), Some(_)) => Err(Problems::unreadable(
            PATH_VARIABLE,
            format!("both {PATH_VARIABLE} and {YAML_VARIABLE} are set; unset one, or choose with --config"),
        )),
        (Some(place), None) => read(&place),
        (None, Some(text)) => Ok(Text { name: YAML_VARIABLE.into(), text }),
        (None, None) => Err(Problems::unreadable(
            "no config",
            format!(
                "give one with --config FILE or --config s3://bucket/key, name one in {PATH_VARIABLE}, or put the YAML \
                 itself into {YAML_VARIABLE}"
            ),
        )),
    }
}

/// The path or URL that [`find`] reads; none if the text itself is in the environment, or there is no config.
pub fn place(flag: Option<&str>, vars: &Vars<'_>) -> Option<String> {
    flag.map(str::to_owned).or_else(|| vars(PATH_VARIABLE).filter(|value| !value.trim().is_empty()))
}

/// Reads a path or URL.
fn read(place: &str) -> Result<Text, Problems> {
    let text = if place.starts_with("s3://") { super::fetch::fetch(place) } else { read_file(place) };
    match text {
        Ok(text) => Ok(Text { name: place.to_owned(), text }),
        Err(message) => Err(Problems::unreadable(place, message)),
    }
}

fn read_file(path: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    // One byte more than is accepted shows that there are too many; a device or pipe ends here too.
    file.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    text_of(bytes)
}

/// Bytes as a config's text.
pub(super) fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.len() > MAX_TEXT {
        return Err(format!("has more than {MAX_TEXT} bytes; no config is so large"));
    }
    String::from_utf8(bytes).map_err(|error| format!("is no UTF-8 text (byte {})", error.utf8_error().valid_up_to()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(flag: Option<&str>, vars: &[(&str, &str)]) -> Result<Text, String> {
        let lookup = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        find(flag, &lookup).map_err(|problems| problems.to_string())
    }

    #[test]
    fn the_flag_comes_before_the_environment() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "a: 1").expect("written");
        let path = file.path().to_str().expect("UTF-8");
        let from_file = Text { name: path.into(), text: "a: 1".into() };
        assert_eq!(found(Some(path), &[(PATH_VARIABLE, "/nowhere")]), Ok(from_file.clone()));
        assert_eq!(found(None, &[(PATH_VARIABLE, path), (YAML_VARIABLE, " ")]), Ok(from_file));
        let inline = Text { name: YAML_VARIABLE.into(), text: "b: 2".into() };
        assert_eq!(found(None, &[(YAML_VARIABLE, "b: 2")]), Ok(inline));
    }

    #[test]
    fn says_what_to_do_when_there_is_none() {
        let none = found(None, &[]).unwrap_err();
        assert!(none.contains("--config") && none.contains(PATH_VARIABLE) && none.contains(YAML_VARIABLE), "{none}");
        let both = found(None, &[(PATH_VARIABLE, "x"), (YAML_VARIABLE, "y")]).unwrap_err();
        assert!(both.contains("unset one"), "{both}");
        let missing = found(Some("/nowhere/logweir.yaml"), &[]).unwrap_err();
        assert!(missing.starts_with("error: /nowhere/logweir.yaml: cannot be opened"), "{missing}");
        assert!(text_of(vec![0xff]).unwrap_err().contains("no UTF-8"));
        assert!(text_of(vec![b' '; MAX_TEXT + 1]).unwrap_err().contains("more than"));
    }
}
