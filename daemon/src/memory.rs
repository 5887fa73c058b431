//! How a process gives memory back to the system.

/// A block of this many bytes is mapped by itself, and unmapped when it is freed.
#[cfg(target_env = "gnu")]
const MAPPED_MIN: i32 = 256 << 10;

/// Keeps glibc from learning the wrong thing: whenever a mapped block is freed, it takes blocks of that size, up to 32 MiB, from its
/// heaps from then on, and gives a heap back only from its upper end. A buffer of some megabytes that is used once a minute then costs
/// all that ever lies around it (mallopt(3), `M_MMAP_THRESHOLD`). With the threshold set, it does not move.
///
/// Called first of all, before anything is learned.
#[allow(unsafe_code)] // The only place: the standard library has no way to say it, nor has a crate without a C build.
pub(crate) fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointer is passed. It sets two numbers of the allocator, under the allocator's own lock; values that it does not
    // take change nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_MIN);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MAPPED_MIN);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use std::hint::black_box;

    use super::*;

    const MIB: usize = 1 << 20;

    /// KiB.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("a process knows its state");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("and its size");
        line.trim_end_matches("kB").trim().parse().expect("in KiB")
    }

    fn touched(bytes: usize) -> Vec<u8> {
        black_box(vec![1; bytes])
    }

    #[test]
    fn a_large_block_is_given_back_whatever_was_allocated_behind_it() {
        give_back_large_blocks();
        drop(touched(30 * MIB)); // From this glibc would learn.
        let block = touched(24 * MIB);
        let behind = touched(100);
        let before = resident();
        drop(block);
        let given = before.saturating_sub(resident());
        assert!(20 << 10 < given, "{given} KiB were given back of 24 MiB");
        drop(behind);
    }
}
