use super::*;

#[test]
fn every_kept_input_of_record_still_holds() {
    replay("record", record);
}

#[test]
fn every_kept_input_of_resume_token_still_holds() {
    replay("resume_token", resume_token);
}

#[test]
fn every_kept_input_of_backup_file_still_holds() {
    replay("backup_file", backup_file);
}

#[test]
fn every_seed_holds() {
    for (target, seeds) in seeds() {
        let property = match target {
            "record" => record,
            "resume_token" => resume_token,
            _ => backup_file,
        };
        seeds.iter().for_each(|seed| property(seed));
    }
}

#[test]
#[should_panic(expected = "of resume_token, these do not hold")]
fn an_input_that_does_not_hold_is_named() {
    replay("resume_token", |bytes| assert!(bytes.is_empty(), "this is meant to panic"));
}
