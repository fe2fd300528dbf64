use std::fs;

use super::*;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {podIP: 10.0.0.1}\n";

fn one(name: &str) -> Changed {
    Changed::Files([name.to_owned()].into())
}

#[test]
fn at_start_every_unreadable_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("good.yaml"), POD).unwrap();
    fs::write(directory.path().join("bad.yaml"), "a: [").unwrap();
    fs::write(directory.path().join("empty.yml"), "\n").unwrap();
    let problems = Files::read(directory.path()).unwrap_err();
    let files: Vec<_> = problems.iter().filter_map(|problem| problem.file.as_deref()).collect();
    assert_eq!(files, ["bad.yaml", "empty.yml"]);
}

#[test]
fn a_file_that_becomes_unreadable_keeps_its_last_good_objects_and_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.yaml");
    fs::write(&path, POD).unwrap();
    let mut files = Files::read(directory.path()).unwrap();
    for broken in ["", "a: ["] {
        fs::write(&path, broken).unwrap();
        assert_eq!(files.take(&one("a.yaml")), Effect::Nothing);
        assert_eq!(files.inventory().pods().count(), 1);
        let told = files.problems().iter().any(|problem| {
            problem.file.as_deref() == Some("a.yaml")
                && problem.message.ends_with("its last good objects stay in force")
        });
        assert!(told, "{:?}", files.problems());
    }
    fs::write(&path, POD.replace("10.0.0.1", "10.0.0.2")).unwrap();
    assert_eq!(files.take(&one("a.yaml")), Effect::Changed);
    assert!(!files.problems().iter().any(|problem| problem.message.contains("last good")));
}

#[test]
fn a_deleted_file_takes_its_objects_and_its_report_along() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.yaml");
    fs::write(&path, POD).unwrap();
    let mut files = Files::read(directory.path()).unwrap();
    fs::write(&path, "a: [").unwrap();
    assert_eq!(files.take(&one("a.yaml")), Effect::Nothing);
    fs::remove_file(&path).unwrap();
    assert_eq!(files.take(&one("a.yaml")), Effect::Changed);
    assert_eq!(files.inventory().pods().count(), 0);
    assert_eq!(files.problems(), [manifest::nothing_in(directory.path())]);
}

#[test]
fn the_whole_directory_is_read_with_what_is_new_and_what_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.yaml"), POD).unwrap();
    let mut files = Files::read(directory.path()).unwrap();
    fs::remove_file(directory.path().join("a.yaml")).unwrap();
    fs::write(directory.path().join("b.yaml"), POD.replace("name: a", "name: b")).unwrap();
    fs::write(directory.path().join("notes.txt"), "a: [").unwrap();
    assert_eq!(files.take(&Changed::All), Effect::Changed);
    let names: Vec<_> = files.inventory().pods().map(|p| &*p.metadata.key.name).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn a_directory_that_is_gone_changes_nothing_and_is_reported() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("m");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("a.yaml"), POD).unwrap();
    let mut files = Files::read(&directory).unwrap();
    fs::rename(&directory, parent.path().join("away")).unwrap();
    assert_eq!(files.take(&Changed::All), Effect::Nothing);
    assert_eq!(files.inventory().pods().count(), 1);
    let told = files.problems().iter().any(|p| p.message.contains("all objects stay in force"));
    assert!(told, "{:?}", files.problems());
    fs::rename(parent.path().join("away"), &directory).unwrap();
    assert_eq!(files.take(&Changed::All), Effect::Nothing);
    assert!(!files.problems().iter().any(|p| p.message.contains("cannot read the directory")));
}

#[test]
fn a_document_that_is_no_object_neither_stops_a_start_nor_hides_its_neighbours() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.yaml");
    for stray in ["- 1", "words", "metadata: {name: q}"] {
        fs::write(&path, format!("{POD}---\n{stray}\n")).unwrap();
        let mut files = Files::read(directory.path()).unwrap();
        assert_eq!(files.inventory().pods().count(), 1, "{stray}");
        fs::write(&path, format!("{stray}\n---\n{}", POD.replace("0.1", "0.2"))).unwrap();
        assert_eq!(files.take(&one("a.yaml")), Effect::Changed, "{stray}");
        let pod = files.inventory().pods().next().unwrap();
        assert_eq!(pod.addresses[0].to_string(), "10.0.0.2", "{stray}");
        let told = files.problems();
        assert!(told.iter().any(|one| one.object == "document 1"), "{stray}: {told:?}");
        // Nothing but strays is no manifest: the last good objects stay.
        fs::write(&path, format!("{stray}\n---\n- 2\n")).unwrap();
        assert_eq!(files.take(&one("a.yaml")), Effect::Nothing, "{stray}");
        assert_eq!(files.inventory().pods().count(), 1, "{stray}");
        assert!(Files::read(directory.path()).is_err(), "{stray}");
    }
}
