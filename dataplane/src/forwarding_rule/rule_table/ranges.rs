//! Disjoint ranges of numbers that together are all of them, each with a value.

/// Number that ranges are of.
pub(super) trait Number: Copy + Default + Ord {
    /// Number of the blocks that are looked up first.
    const BLOCKS: usize;

    /// Block that the number is in: blocks are of one size, in order.
    fn block(self) -> usize;

    /// First number of a block.
    fn first_of(block: usize) -> Self;

    /// The greatest number.
    const MAX: Self;
}

/// Ports.
impl Number for u16 {
    const BLOCKS: usize = 256;

    #[inline(always)]
    fn block(self) -> usize {
        usize::from(self >> 8)
    }

    fn first_of(block: usize) -> Self {
        (block as Self) << 8
    }

    const MAX: Self = Self::MAX;
}

/// IPv4 addresses; a block is a /8, and seldom has more than a few ranges.
impl Number for u32 {
    const BLOCKS: usize = 256;

    #[inline(always)]
    fn block(self) -> usize {
        (self >> 24) as usize
    }

    fn first_of(block: usize) -> Self {
        (block as Self) << 24
    }

    const MAX: Self = Self::MAX;
}

/// IPv6 addresses, nearly all of which have one beginning.
impl Number for u128 {
    const BLOCKS: usize = 1;

    #[inline(always)]
    fn block(self) -> usize {
        0
    }

    fn first_of(_: usize) -> Self {
        0
    }

    const MAX: Self = Self::MAX;
}

/// Number of ranges after a block's first among which a number's is counted out: no more than a few comparisons.
const COUNTED: usize = 4;

/// Values by ranges of numbers.
#[derive(Debug)]
pub(super) struct Ranges<N, T> {
    blocks: Box<[Block<N>]>,
    /// First numbers of the ranges, in order, of which the first is the least that there is.
    starts: Box<[N]>,
    values: Box<[T]>,
}

/// Ranges of one block of numbers.
#[derive(Clone, Copy, Debug)]
struct Block<N> {
    /// Number of the first range, and of those after it: where there are none, no search is needed.
    first: u32,
    after: u32,
    /// First numbers of the ranges after the first, as far as there is room; then the greatest number, so that there are
    /// always so many to compare with.
    starts: [N; COUNTED],
}

impl<N: Number, T> Ranges<N, T> {
    /// One range of all numbers.
    pub(super) fn all(value: T) -> Self {
        Self::new(vec![N::default()], vec![value])
    }

    fn new(starts: Vec<N>, values: Vec<T>) -> Self {
        let ranges = |number| {
            let first = starts.partition_point(|start| *start <= N::first_of(number)) - 1;
            let last = starts.partition_point(|start| start.block() <= number) - 1;
            let mut block =
                Block { first: first as u32, after: (last - first) as u32, starts: [N::MAX; COUNTED] };
            for (own, start) in block.starts.iter_mut().zip(&starts[first + 1..=last]) {
                *own = *start;
            }
            block
        };
        let blocks = (0..N::BLOCKS).map(ranges).collect();
        Self { blocks, starts: starts.into(), values: values.into() }
    }

    /// Value of the range that `number` is in.
    //
    // No branch depends on what the comparisons say: nobody can foresee a client.
    #[inline(always)]
    pub(super) fn get(&self, number: N) -> &T {
        let block = &self.blocks[number.block()];
        let (first, after) = (block.first as usize, block.after as usize);
        if after == 0 {
            return &self.values[first];
        }
        let passed = if after <= COUNTED {
            // Only the greatest number reaches what follows the last.
            block.starts.iter().map(|start| usize::from(*start <= number)).sum::<usize>().min(after)
        } else {
            self.starts[first + 1..=first + after].partition_point(|start| *start <= number)
        };
        &self.values[first + passed]
    }
}

/// Ranges of these first numbers, which are in order and begin with the least; neighbours with one value become one range.
impl<N: Number, T: PartialEq> FromIterator<(N, T)> for Ranges<N, T> {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(ranges: I) -> Self {
        let (mut starts, mut values): (Vec<N>, Vec<T>) = (Vec::new(), Vec::new());
        for (start, value) in ranges {
            if values.last() != Some(&value) {
                starts.push(start);
                values.push(value);
            }
        }
        assert!(starts.first() == Some(&N::default()), "the first range begins with the least number");
        assert!(starts.is_sorted(), "ranges are in order");
        Self::new(starts, values)
    }
}

impl<N: Copy, T: Copy> Ranges<N, T> {
    /// Value of all numbers, if it is one.
    pub(super) fn only(&self) -> Option<T> {
        if let [only] = *self.values { Some(only) } else { None }
    }

    /// First number and value of each range.
    pub(super) fn iter(&self) -> impl Iterator<Item = (N, T)> {
        self.starts.iter().copied().zip(self.values.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_the_value_of_its_range() {
        let ranges: Ranges<u16, char> =
            [(0, 'a'), (10, 'b'), (11, 'c'), (20, 'c'), (u16::MAX, 'd')].into_iter().collect();
        for (number, expected) in
            [(0, 'a'), (9, 'a'), (10, 'b'), (11, 'c'), (25, 'c'), (65_534, 'c'), (65_535, 'd')]
        {
            assert_eq!(*ranges.get(number), expected, "{number}");
        }
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(0, 'a'), (10, 'b'), (11, 'c'), (65_535, 'd')]);
        assert_eq!(*Ranges::<u32, _>::all(7).get(9), 7);
    }

    #[test]
    fn blocks_with_none_one_and_several_ranges_say_what_a_search_says() {
        let several = (1..8).map(|n| (5 << 24) + 3 * n);
        let mut starts = vec![0, 5, 1 << 24, (1 << 24) + 9, 3 << 24, (3 << 24) + 1];
        starts.extend(several.chain([(7 << 24) - 1, 7 << 24, u32::MAX]));
        let ranges: Ranges<u32, u32> = starts.iter().map(|start| (*start, !start)).collect();
        let near = starts.iter().flat_map(|&start| [start.saturating_sub(1), start, start.saturating_add(1)]);
        for number in near.chain([2 << 24, 100 << 24, u32::MAX]) {
            let expected = !starts[starts.partition_point(|start| *start <= number) - 1];
            assert_eq!(*ranges.get(number), expected, "{number:#x}");
        }
    }
}
