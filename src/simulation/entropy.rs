//! The randomness of the operating system, seeded on the threads of simulations.
//!
//! Keys of hash maps, ids, codes, secrets and jitter all come from `getrandom(2)`. The program's own
//! symbol takes the place of the C library's, so that a simulation needs no second source of
//! randomness in the code that it runs.

use std::cell::RefCell;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

thread_local! {
    static SEEDED: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// Makes all that this thread draws from now on depend on the seed alone.
pub(super) fn seed_thread(seed: u64) {
    SEEDED.set(Some(StdRng::seed_from_u64(seed)));
}

/// Fills a buffer with random bytes, like the C library's function of this name.
#[allow(
    unsafe_code,
    reason = "replaces a function of the C library, in tests only"
)]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    // SAFETY: the caller passes a buffer of this length, as getrandom(2) demands.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    let seeded = SEEDED.try_with(|seeded| match &mut *seeded.borrow_mut() {
        Some(rng) => {
            rng.fill_bytes(bytes);
            true
        }
        None => false,
    });
    if seeded.unwrap_or(false) {
        return isize::try_from(length).unwrap_or(isize::MAX);
    }
    let flags = rustix::rand::GetRandomFlags::from_bits_retain(flags);
    match rustix::rand::getrandom(bytes, flags) {
        Ok(count) => isize::try_from(count).unwrap_or(isize::MAX),
        // Callers try again, or use another source.
        Err(_) => -1,
    }
}
