//! Damaged files: each is refused, with the place of the damage.

use raidhall::backup::BackupError;

use crate::backup_contents::BackupContents;
use crate::backup_database::BackupDatabase;
use crate::raid_generator::fill_store;

async fn small_file() -> Vec<u8> {
    let database = BackupDatabase::sqlite();
    fill_store(database.store().await.as_ref(), 2, 8, 6).await;
    let (file, _) = database.export().await;
    BackupContents::read(&file).await.expect("a good file");
    file
}

async fn import_fault(file: &[u8]) -> Option<raidhall::backup::FileFault> {
    match BackupContents::read(file).await {
        Err(BackupError::Damaged(fault)) => Some(fault),
        Ok(_) => None,
        Err(other) => panic!("lines of a damaged block were accepted: {other}"),
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_a_backup_is_detected() {
    let file = small_file().await;
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut flipped = file.clone();
            flipped[at] ^= 1 << bit;
            let fault = BackupContents::read(&flipped).await.err();
            assert!(
                matches!(fault, Some(BackupError::Damaged(_))),
                "byte {at}, bit {bit}: {fault:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_backup_truncated_anywhere_is_refused() {
    let file = small_file().await;
    for length in 0..file.len() {
        let fault = import_fault(&file[..length]).await.expect("a fault");
        assert!(
            fault.reason.contains("not whole"),
            "{length} bytes: {fault}"
        );
    }
}

#[tokio::test]
async fn a_backup_with_bytes_after_its_end_is_refused() {
    let mut file = small_file().await;
    file.push(0);
    let fault = import_fault(&file).await.expect("a fault");
    assert!(fault.reason.contains("follows the end"), "{fault}");
}

#[tokio::test]
async fn another_file_is_named_as_such_and_not_as_a_damaged_backup() {
    let backup = small_file().await;
    let fault = import_fault(&backup[..backup.len() - 1]).await;
    let fault = fault.expect("a fault").to_string();
    assert!(fault.starts_with("damaged backup: block "), "{fault}");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, b"{\"header\":{\"format\":\"other\"}}\n").expect("write");
    let gzip = gzip.finish().expect("a file");
    for other in [
        &b""[..],
        b"CREATE TABLE players",
        &[0; 100],
        &gzip,
        &backup[10..],
    ] {
        let fault = import_fault(other).await.expect("a fault").to_string();
        assert!(fault.starts_with("not a Raidhall backup"), "{fault}");
    }
}

/// Blocks that are valid by themselves: one missing, one repeated, two swapped.
#[tokio::test]
async fn missing_repeated_or_swapped_backup_blocks_are_refused() {
    let database = BackupDatabase::sqlite();
    fill_store(database.store().await.as_ref(), 200, 250, 7).await;
    let (file, _) = database.export().await;
    let magic = &file[..10];
    let begins: Vec<_> = (0..file.len())
        .filter(|at| file[*at..].starts_with(magic))
        .chain([file.len()])
        .collect();
    let blocks: Vec<_> = begins.windows(2).map(|at| &file[at[0]..at[1]]).collect();
    assert!(blocks.len() >= 5, "{} blocks", blocks.len());
    for blocks in [
        [&blocks[..1], &blocks[2..]].concat(),
        [&blocks[..2], &blocks[1..]].concat(),
        [&blocks[..1], &[blocks[2], blocks[1]], &blocks[3..]].concat(),
    ] {
        let error = BackupContents::read(&blocks.concat())
            .await
            .expect_err("an altered file");
        assert!(
            matches!(error, BackupError::Damaged(_) | BackupError::Invalid { .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_backup_fault_names_its_block_and_offset() {
    let database = BackupDatabase::sqlite();
    fill_store(database.store().await.as_ref(), 60, 120, 8).await;
    let (mut file, _) = database.export().await;
    let second = (1..file.len())
        .find(|at| file[*at..].starts_with(&file[..10]))
        .expect("a second block");
    file[second + 1_000] ^= 4;
    let fault = import_fault(&file).await.expect("a fault");
    assert_eq!((fault.block, fault.offset), (2, second as u64), "{fault}");
}
