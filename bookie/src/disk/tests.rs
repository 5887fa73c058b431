use super::*;

fn block(byte: u8) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(BLOCK);
    buffer.bytes_mut().fill(byte);
    buffer
}

fn conforms(disk: &dyn Disk) {
    disk.lock().unwrap();
    assert_eq!(disk.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock, "a second holder is refused");
    assert_eq!(disk.open("a").unwrap_err().kind(), io::ErrorKind::NotFound);
    let file = disk.create("a").unwrap();
    assert_eq!(disk.create("a").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    file.write_at(BLOCK as u64, block(7).bytes()).unwrap();
    file.sync().unwrap();
    assert_eq!(file.length().unwrap(), 2 * BLOCK as u64);
    let mut read = AlignedBuffer::zeroed(4 * BLOCK);
    assert_eq!(file.read_at(0, read.bytes_mut()).unwrap(), 2 * BLOCK, "a read ends with the file");
    assert_eq!((read.bytes()[0], read.bytes()[BLOCK]), (0, 7), "a hole reads as zeros");
    file.set_length(BLOCK as u64).unwrap();
    assert_eq!(file.read_at(BLOCK as u64, read.bytes_mut()).unwrap(), 0);
    disk.create("b").unwrap();
    disk.rename("a", "b").unwrap();
    disk.sync_directory().unwrap();
    assert_eq!(disk.open("b").unwrap().length().unwrap(), BLOCK as u64, "a rename replaces");
    assert!(!disk.list().unwrap().contains(&"a".to_string()));
    let room = disk.room().unwrap();
    assert!(0 < room.free && room.free <= room.total, "{room:?}");
    disk.remove("b").unwrap();
    assert!(disk.open("b").is_err());
}

#[test]
fn a_directory_conforms() {
    let directory = tempfile::tempdir().unwrap();
    conforms(&Directory::create(&directory.path().join("below")).unwrap());
}

#[test]
fn a_directory_without_direct_access_conforms() {
    if let Ok(directory) = tempfile::tempdir_in("/dev/shm") {
        conforms(&Directory::create(directory.path()).unwrap());
    }
}

#[test]
fn the_model_conforms() {
    conforms(&SimDisk::new());
}

#[test]
fn a_second_process_is_kept_out_of_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let first = Directory::create(directory.path()).unwrap();
    first.lock().unwrap();
    let second = Directory::create(directory.path()).unwrap();
    assert_eq!(second.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(first);
    second.lock().unwrap();
}

#[test]
fn the_model_keeps_what_was_synced_and_may_lose_the_rest() {
    let mut lost = 0;
    for seed in 0..50 {
        let disk = SimDisk::new();
        let file = disk.create("a").unwrap();
        file.write_at(0, block(1).bytes()).unwrap();
        file.sync().unwrap();
        disk.sync_directory().unwrap();
        file.write_at(BLOCK as u64, block(2).bytes()).unwrap();
        disk.lose_power(seed);
        assert!(file.length().is_err(), "handles die with the power");
        let mut read = AlignedBuffer::zeroed(2 * BLOCK);
        let count = disk.open("a").unwrap().read_at(0, read.bytes_mut()).unwrap();
        assert_eq!(&read.bytes()[..BLOCK], block(1).bytes());
        lost += u32::from(count < 2 * BLOCK || read.bytes()[BLOCK..] != *block(2).bytes());
    }
    assert!((10..50).contains(&lost), "{lost} of 50 lost something");
}

#[test]
fn a_buffer_stays_aligned_while_it_grows() {
    let mut buffer = AlignedBuffer::with_capacity(0);
    for round in 0..100u8 {
        buffer.extend(&[round; 777]);
        assert_eq!(buffer.bytes().as_ptr().align_offset(BLOCK), 0);
    }
    assert_eq!(buffer.bytes()[777 * 50], 50);
    buffer.resize(10);
    buffer.resize(20);
    assert_eq!(buffer.bytes()[10..], [0; 10], "what was cut off does not come back");
}
