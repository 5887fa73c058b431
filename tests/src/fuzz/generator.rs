//! Inputs from a seed: valid ones, changed a little or a lot.
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

/// Longer inputs are cut.
const INPUT_BYTES_MAX: usize = 4096;
/// Changes made to one input.
const CHANGES_MAX: u32 = 6;
/// Numbers at which codecs err.
const EDGES: [u32; 8] = [0, 1, 3, 0x7f, 0x80, 0x7fff_ffff, 0x8000_0000, u32::MAX];

/// The same as protobuf writes them: the largest positive and the lowest number of 32 bits, the largest of 64, and one that has no end.
const VARINTS: [&[u8]; 4] = [
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0x80, 0x80, 0x80, 0x80, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff; 11],
];

/// An endless row of inputs. The seed decides all of them.
#[derive(Debug)]
pub struct Generator {
    rng: SmallRng,
    seeds: Vec<Vec<u8>>,
}

impl Generator {
    /// Starts from `seeds`, of which there must be one.
    #[must_use]
    pub fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Self {
        assert!(!seeds.is_empty(), "there is nothing to change");
        Self { rng: SmallRng::seed_from_u64(seed), seeds }
    }

    /// The next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.any_seed();
        for _ in 0..self.rng.random_range(0..=CHANGES_MAX) {
            self.change(&mut input);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn any_seed(&mut self) -> Vec<u8> {
        self.seeds[self.rng.random_range(0..self.seeds.len())].clone()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (from, to) = self.range(input.len());
        match self.rng.random_range(0..9) {
            0 if from < input.len() => input[from] ^= 1 << self.rng.random_range(0..8),
            1 if from < input.len() => input[from] = self.rng.random(),
            2 if from + 4 <= input.len() => {
                input[from..from + 4].copy_from_slice(&EDGES[self.rng.random_range(0..EDGES.len())].to_be_bytes());
            }
            8 if from < input.len() => {
                let number = VARINTS[self.rng.random_range(0..VARINTS.len())];
                drop(input.splice(from..=from, number.iter().copied()));
            }
            3 => drop(input.drain(from..to)),
            4 => {
                let piece = input[from..to].repeat(self.rng.random_range(1..4));
                drop(input.splice(to..to, piece));
            }
            5 => {
                let other = self.any_seed();
                let (begin, end) = self.range(other.len());
                drop(input.splice(from..to, other[begin..end].iter().copied()));
            }
            6 => {
                let mut noise = vec![0; self.rng.random_range(1..32)];
                self.rng.fill_bytes(&mut noise);
                drop(input.splice(from..from, noise));
            }
            _ => {
                let other = self.any_seed();
                input.extend(other);
            }
        }
    }

    fn range(&mut self, length: usize) -> (usize, usize) {
        let (one, other) = (self.rng.random_range(0..=length), self.rng.random_range(0..=length));
        (one.min(other), one.max(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_all_inputs_and_another_decides_others() {
        let inputs = |seed| {
            let mut generator = Generator::new(seed, vec![b"one valid input".to_vec(), b"another".to_vec()]);
            (0..500).map(|_| generator.next_input()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(1).iter().all(|input| input.len() <= INPUT_BYTES_MAX));
        assert!(inputs(1).contains(&b"another".to_vec()), "some stay valid");
    }
}
