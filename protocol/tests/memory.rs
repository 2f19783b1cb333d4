//! Bounds the memory that decoding an untrusted frame takes: a constant times the frame's length.
//! It is a test binary of its own because it counts every allocation of its process.
#![allow(unsafe_code, reason = "an allocator can't be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use raidhall_protocol::Codec;
use raidhall_protocol::decode::decode;

/// The largest message that a server accepts by default.
const FRAME_BYTES: usize = 16 * 1024;
/// The worst known frame is full of maps with one entry, each of which gets a tree node of its own.
const BYTES_PER_BYTE_MAX: usize = 400;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(held, Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn decoding_memory_is_bounded_by_a_multiple_of_the_frame_length() {
    let filled = |head: &[u8], unit: &[u8]| {
        let mut frame = head.to_vec();
        while frame.len() + unit.len() <= FRAME_BYTES {
            frame.extend(unit);
        }
        frame
    };
    let msgpack_list = b"\x82\xa1t\xa4beat\xa1x\xdd\xff\xff\xff\xff";
    let json_list = br#"{"t":"beat","x":["#;
    let frames = [
        (Codec::MessagePack, filled(b"", b"\xdd\xff\xff\xff\xff")),
        (Codec::MessagePack, filled(msgpack_list, b"\x00")),
        (Codec::MessagePack, filled(msgpack_list, b"\x90")),
        (Codec::MessagePack, filled(msgpack_list, b"\xa1x")),
        (Codec::MessagePack, filled(msgpack_list, b"\x81\xa0\xc0")),
        (
            Codec::MessagePack,
            filled(msgpack_list, b"\x81\xa0\xc4\x00"),
        ),
        (
            Codec::MessagePack,
            filled(b"\xdf\xff\xff\xff\xff", b"\xa0\x00"),
        ),
        (Codec::MessagePack, filled(b"\x82\xa1t\xa4beat", b"\x91")),
        (Codec::Json, filled(json_list, b"0,")),
        (Codec::Json, filled(json_list, b"[],")),
        (Codec::Json, filled(json_list, br#"{"":0},"#)),
        (Codec::Json, filled(json_list, br#"{"":1e999},"#)),
        (Codec::Json, filled(b"", b"[")),
        (Codec::Json, filled(b"", br#"{"":"#)),
    ];
    for (codec, mut frame) in frames {
        if frame.starts_with(json_list) {
            frame.extend(b"0]}");
        }
        let before = HELD.load(Relaxed);
        PEAK.store(before, Relaxed);
        let _ = decode(codec, &frame);
        let cost = PEAK.load(Relaxed) - before;
        let shown = String::from_utf8_lossy(&frame[..40]).into_owned();
        assert!(
            cost <= frame.len() * BYTES_PER_BYTE_MAX,
            "{cost} bytes for {shown}…"
        );
    }
}
