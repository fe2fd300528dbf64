use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use super::*;

/// A second without news, on a machine that may be slow, is no news.
const NOTHING: Duration = Duration::from_millis(300);

async fn next(watch: &mut DirWatch) -> Changed {
    tokio::time::timeout(Duration::from_secs(10), watch.settled()).await.expect("no news").changed
}

async fn nothing(watch: &mut DirWatch) {
    let news = tokio::time::timeout(NOTHING, watch.settled()).await;
    assert!(news.is_err(), "unexpected {news:?}");
}

fn only(name: &str) -> Changed {
    Changed::Files([name.to_owned()].into())
}

#[tokio::test]
async fn a_written_renamed_and_deleted_file_is_told_of_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut watch = DirWatch::open(directory.path()).unwrap();
    let (a, b) = (directory.path().join("a.yaml"), directory.path().join("b.yml"));
    fs::write(&a, "x").unwrap();
    assert_eq!(next(&mut watch).await, only("a.yaml"));
    fs::rename(&a, &b).unwrap();
    let both = Changed::Files(["a.yaml".to_owned(), "b.yml".to_owned()].into());
    assert_eq!(next(&mut watch).await, both);
    fs::remove_file(&b).unwrap();
    assert_eq!(next(&mut watch).await, only("b.yml"));
    nothing(&mut watch).await;
}

#[tokio::test]
async fn a_half_written_file_is_not_told_of_before_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let mut watch = DirWatch::open(directory.path()).unwrap();
    let mut file = fs::File::create(directory.path().join("a.json")).unwrap();
    file.write_all(b"{").unwrap();
    file.flush().unwrap();
    nothing(&mut watch).await;
    file.write_all(b"}").unwrap();
    drop(file);
    assert_eq!(next(&mut watch).await, only("a.json"));
}

#[tokio::test]
async fn files_that_are_no_manifests_are_not_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let mut watch = DirWatch::open(directory.path()).unwrap();
    for name in ["notes.txt", ".a.yaml.swp", ".hidden.yaml", "yaml", "a.yaml~"] {
        fs::write(directory.path().join(name), "x").unwrap();
    }
    fs::create_dir(directory.path().join("folder.yaml")).unwrap();
    nothing(&mut watch).await;
    fs::rename(directory.path().join(".hidden.yaml"), directory.path().join("seen.yaml")).unwrap();
    assert_eq!(next(&mut watch).await, only("seen.yaml"));
}

#[tokio::test]
async fn a_swapped_config_map_is_told_of_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("..1")).unwrap();
    fs::write(at("..1/a.yaml"), "old").unwrap();
    symlink("..1", at("..data")).unwrap();
    symlink("..data/a.yaml", at("a.yaml")).unwrap();
    let mut watch = DirWatch::open(directory.path()).unwrap();
    fs::create_dir(at("..2")).unwrap();
    fs::write(at("..2/a.yaml"), "new").unwrap();
    symlink("..2", at("..data_tmp")).unwrap();
    nothing(&mut watch).await;
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert_eq!(next(&mut watch).await, Changed::All);
    assert_eq!(fs::read_to_string(at("a.yaml")).unwrap(), "new");
}

#[tokio::test]
async fn a_link_to_a_whole_file_is_told_of_when_it_is_made() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("whole"), "x").unwrap();
    let mut watch = DirWatch::open(directory.path()).unwrap();
    symlink("whole", directory.path().join("a.yaml")).unwrap();
    assert_eq!(next(&mut watch).await, only("a.yaml"));
    fs::hard_link(directory.path().join("whole"), directory.path().join("b.yaml")).unwrap();
    assert_eq!(next(&mut watch).await, only("b.yaml"));
}

/// A directory whose going was told of, and that is there again.
async fn gone_and_back() -> (tempfile::TempDir, PathBuf, DirWatch) {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("manifests");
    fs::create_dir(&directory).unwrap();
    let mut watch = DirWatch::open(&directory).unwrap();
    fs::rename(&directory, parent.path().join("away")).unwrap();
    assert_eq!(next(&mut watch).await, Changed::All);
    fs::create_dir(&directory).unwrap();
    (parent, directory, watch)
}

#[tokio::test]
async fn a_directory_that_goes_and_comes_back_is_read_both_times() {
    let (_parent, directory, mut watch) = gone_and_back().await;
    assert_eq!(next(&mut watch).await, Changed::All);
    fs::write(directory.join("a.yaml"), "x").unwrap();
    assert_eq!(next(&mut watch).await, only("a.yaml"));
}

#[tokio::test]
async fn a_directory_is_found_again_by_who_never_waits_long() {
    let (_parent, _directory, mut watch) = gone_and_back().await;
    let mut found = None;
    for _ in 0..100 {
        // As the agent, which is asked something else meanwhile and begins to wait anew.
        found = tokio::time::timeout(SEARCH / 10, watch.settled()).await.ok();
        if found.is_some() {
            break;
        }
    }
    assert_eq!(found.map(|settled| settled.changed), Some(Changed::All));
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error_with_the_settings_name() {
    let error = DirWatch::open(Path::new("/nonexistent/x")).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/x") && error.contains("setting is manifests"), "{error}");
}
