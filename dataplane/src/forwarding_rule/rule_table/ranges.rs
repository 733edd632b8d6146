//! Disjoint ranges of numbers that together are all of them, each with a value.

/// Values by ranges of numbers.
#[derive(Debug)]
pub(super) struct Ranges<N, T> {
    /// First numbers of the ranges, in order, of which the first is the least that there is.
    starts: Box<[N]>,
    values: Box<[T]>,
}

impl<N: Copy + Default + Ord, T> Ranges<N, T> {
    /// One range of all numbers.
    pub(super) fn all(value: T) -> Self {
        Self { starts: Box::new([N::default()]), values: Box::new([value]) }
    }

    /// Value of the range that `number` is in.
    //
    // Each step halves the ranges by a conditional move: nobody can foresee a client.
    #[inline(always)]
    pub(super) fn get(&self, number: N) -> &T {
        let after = self.starts.partition_point(|start| *start <= number);
        &self.values[after - 1]
    }
}

/// Ranges of these first numbers, which are in order and begin with the least; neighbours with one value become one range.
impl<N: Copy + Default + Ord, T: PartialEq> FromIterator<(N, T)> for Ranges<N, T> {
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
        Self { starts: starts.into(), values: values.into() }
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
}
