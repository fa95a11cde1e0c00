// A settings file in Rust, replaced as a whole at each change, with two failpoints.
//
//     rust_settings fill ROOT     store eight values under three keys
//     rust_settings dump ROOT     print them as JSON
//
// Its failpoints are those of the crate fail if cargo builds it with the feature `failpoints` (rust_fail/Cargo.toml). If rustc
// builds it alone, without a registry, a function of ten lines stands in for the crate: it reads the same FAILPOINTS and knows
// the action `sleep`, by which crashmatrix recognises a failpoint.
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::{env, io};

#[cfg(feature = "failpoints")]
use fail::fail_point;

#[cfg(not(feature = "failpoints"))]
macro_rules! fail_point {
    ($name:expr) => {
        stand_in($name)
    };
}

#[cfg(not(feature = "failpoints"))]
fn stand_in(name: &str) {
    let configured = env::var("FAILPOINTS").unwrap_or_default();
    for point in configured.split(';') {
        if let Some(action) = point.strip_prefix(name).and_then(|rest| rest.strip_prefix("=sleep(")) {
            let milliseconds = action.trim_end_matches(')').parse().expect("FAILPOINTS");
            std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        }
    }
}

fn load(root: &Path) -> io::Result<BTreeMap<String, u32>> {
    let path = root.join("settings");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = fs::read_to_string(path)?;
    let body = text.strip_suffix("end\n").ok_or_else(|| io::Error::other("the settings are torn"))?;
    Ok(body.lines().map(|line| line.split_once(' ').expect("a pair")).map(|(key, value)| (key.to_string(), value.parse().expect("a number"))).collect())
}

fn store(root: &Path, settings: &BTreeMap<String, u32>) -> io::Result<()> {
    let in_place = env::var("SETTINGS_BUG").is_ok_and(|bug| bug == "in-place");
    let path = root.join(if in_place { "settings" } else { "settings.new" });
    let mut file = File::create(&path)?;
    fail_point!("settings::before_write");
    for (key, value) in settings {
        writeln!(file, "{key} {value}")?;
    }
    writeln!(file, "end")?;
    file.sync_all()?;
    if !in_place {
        fail_point!("settings::before_rename");
        fs::rename(&path, root.join("settings"))?;
        File::open(root)?.sync_all()?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup(); // Reads FAILPOINTS. Its drop would clear the failpoints.
    let arguments: Vec<String> = env::args().collect();
    let root = Path::new(&arguments[2]);
    let mut settings = load(root)?;
    if arguments[1] == "dump" {
        for (key, value) in settings {
            println!("[\"{key}\", {value}]");
        }
        return Ok(());
    }
    let mut journal = OpenOptions::new().append(true).create(true).open(env::var("CRASHMATRIX_JOURNAL").expect("a journal"))?;
    for value in 0..8 {
        let key = format!("key{}", value % 3);
        journal.write_all(format!("attempt [\"{key}\", {value}]\n").as_bytes())?;
        settings.insert(key.clone(), value);
        store(root, &settings)?;
        journal.write_all(format!("ack [\"{key}\", {value}]\n").as_bytes())?;
    }
    Ok(())
}
