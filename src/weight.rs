// SPDX-License-Identifier: GPL-2.0-only
//! The weight of each nice level, exact.
//! Never rounds to whole numbers: nice 19 weighs 1.46, not 1.

/// The kernel's `sched_prio_to_weight`, nice −20 first. Nice 0 is 1024.
const KERNEL_WEIGHT: [u32; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, // -20..=-11
    9548, 7620, 6100, 4904, 3906, 3121, 2501, 1991, 1586, 1277, // -10..=-1
    1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, // 0..=9
    110, 87, 70, 56, 45, 36, 29, 23, 18, 15, // 10..=19
];

/// What the kernel calls weight 1024, the policy calls 100.
const NICE_0_KERNEL: f64 = 1024.0;
const NICE_0: f64 = 100.0;

/// The weight of a nice level: nice 0 is 100, nice −20 is 8668.1, nice 19 is
/// 1.46. Levels outside −20..=19 count as the nearest one inside.
pub fn weight_of_nice(nice: i32) -> f64 {
    let index = (nice.clamp(-20, 19) + 20) as usize;
    weight_of_kernel(KERNEL_WEIGHT[index])
}

/// The policy's weight for the kernel's weight (1024 at nice 0).
pub fn weight_of_kernel(kernel_weight: u32) -> f64 {
    f64::from(kernel_weight) * NICE_0 / NICE_0_KERNEL
}

/// The kernel's weight for the policy's, rounded, at least 1.
pub fn weight_to_kernel(weight: f64) -> u32 {
    // `as` saturates, which is what an absurd weight deserves.
    ((weight * NICE_0_KERNEL / NICE_0).round() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_levels() {
        assert_eq!(weight_of_nice(0), 100.0);
        assert!((weight_of_nice(-20) - 8668.066).abs() < 1e-3);
        assert!((weight_of_nice(19) - 1.4648).abs() < 1e-4);
        assert!((weight_of_nice(5) - 32.715).abs() < 1e-3);
        assert_eq!(weight_of_nice(-100), weight_of_nice(-20));
        assert_eq!(weight_of_nice(100), weight_of_nice(19));
    }

    #[test]
    fn to_the_kernel_and_back() {
        for weight in KERNEL_WEIGHT {
            assert_eq!(weight_to_kernel(weight_of_kernel(weight)), weight);
        }
        assert_eq!(weight_to_kernel(0.001), 1);
        assert_eq!(weight_to_kernel(f64::INFINITY), u32::MAX);
    }

    #[test]
    fn one_level_is_about_a_quarter() {
        for nice in -20..19 {
            let ratio = weight_of_nice(nice) / weight_of_nice(nice + 1);
            assert!((1.15..1.35).contains(&ratio), "nice {nice}: {ratio}");
        }
    }
}
