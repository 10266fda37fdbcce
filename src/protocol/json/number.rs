//! Numbers as RFC 8785 writes them: as ECMAScript does, the shortest form of the nearest double.
//!
//! A literal whose decimal value that form does not have is refused: who signs it would sign another
//! number than the one that is written.

/// More significant digits no double has in its shortest form.
const MOST_DIGITS: u64 = 17;
/// So many digits of an integer are exact in a double, and are their own shortest form.
const SURELY_EXACT: usize = 15;

/// Appends a scanned number; `false`, and nothing is appended, if its value would change.
pub(super) fn write_number(literal: &str, out: &mut Vec<u8>) -> bool {
    if is_plain_integer(literal) {
        out.extend_from_slice(literal.as_bytes());
        return true;
    }
    let Some(written) = Decimal::read(literal) else {
        return false;
    };
    if written.digits == 0 {
        out.push(b'0');
        return true;
    }
    let Ok(double) = literal.parse::<f64>() else {
        return false;
    };
    if !double.is_finite() {
        return false;
    }
    // Not the standard library's shortest form: of two equally near it takes the other one.
    let Ok(shortest) = serde_json_canonicalizer::to_vec(&double) else {
        return false;
    };
    let same = std::str::from_utf8(&shortest).is_ok_and(|it| Decimal::read(it) == Some(written));
    if same {
        out.extend_from_slice(&shortest);
    }
    same
}

fn is_plain_integer(literal: &str) -> bool {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    digits.len() <= SURELY_EXACT
        && literal != "-0"
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a literal says: `digits · 10^exponent`, digits without zeros at their end.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: u64,
    exponent: i64,
}

impl Decimal {
    /// Nothing where the literal has more significant digits than any double.
    fn read(literal: &str) -> Option<Self> {
        let (negative, rest) = match literal.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, literal),
        };
        let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (mut digits, mut count, mut zeros) = (0_u64, 0_u64, 0_u64);
        let (mut behind_point, mut in_fraction) = (0_i64, false);
        for byte in mantissa.bytes() {
            if byte == b'.' {
                in_fraction = true;
                continue;
            }
            behind_point += i64::from(in_fraction);
            let digit = u64::from(byte - b'0');
            if digit == 0 {
                zeros += u64::from(digits != 0);
                continue;
            }
            count += zeros + 1;
            if count > MOST_DIGITS {
                return None;
            }
            digits = digits * 10_u64.pow(u32::try_from(zeros + 1).ok()?) + digit;
            zeros = 0;
        }
        if digits == 0 {
            let zero = Self {
                negative: false,
                digits,
                exponent: 0,
            };
            return Some(zero);
        }
        // An exponent that fits into nothing is that of no double either.
        let exponent: i64 = exponent.parse().ok()?;
        let exponent = exponent.checked_sub(behind_point)?;
        Some(Self {
            negative,
            digits,
            exponent: exponent.checked_add(i64::try_from(zeros).ok()?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    fn written(literal: &str) -> Option<String> {
        let mut out = Vec::new();
        write_number(literal, &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_number_keeps_its_value_and_has_one_spelling() {
        let table = [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0e5", "0"),
            ("0e99999999999999999999", "0"),
            ("29.99", "29.99"),
            ("0.1", "0.1"),
            ("1e2", "100"),
            ("1.10", "1.1"),
            ("100", "100"),
            ("-17", "-17"),
            ("125.50", "125.5"),
            ("1E21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("-1.5E-9", "-1.5e-9"),
            ("9007199254740992", "9007199254740992"),
            ("999999999999999", "999999999999999"),
            ("333333333.3333333", "333333333.3333333"),
            ("4.50", "4.5"),
            ("2e-3", "0.002"),
            ("1e23", "1e+23"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("5e-324", "5e-324"),
            ("1000000000000000000000000000000", "1e+30"),
            ("100000000000000000000000e-3", "100000000000000000000"),
        ];
        for (literal, expected) in table {
            assert_eq!(written(literal).as_deref(), Some(expected), "{literal}");
            assert_eq!(written(expected).as_deref(), Some(expected), "{expected}");
        }
    }

    #[test]
    fn a_number_that_would_change_is_refused() {
        let many = format!("0.{}1", "0".repeat(5_000_000));
        let nines = "9".repeat(5_000_000);
        for literal in [
            "9007199254740993",
            "1e400",
            "-1e400",
            "0.10000000000000000001",
            "1e-400",
            "333333333.33333329",
            "2.4703282292062327e-324",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "1.00000000000000000000000000001",
            "123456789012345678",
            &many,
            &nines,
        ] {
            let shown: String = literal.chars().take(40).collect();
            assert_eq!(written(literal), None, "{shown}");
        }
    }

    /// Appendix B of RFC 8785: doubles by their bits.
    #[test]
    fn the_numbers_of_the_rfc_are_written_as_it_says() {
        let table: [(u64, &str); 23] = [
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
            (0x3ff0_0000_0000_0000, "1"),
            (0x8000_0000_0000_0000, "0"),
        ];
        for (bits, expected) in table {
            let double = f64::from_bits(bits);
            assert_eq!(expected.parse::<f64>(), Ok(double), "{bits:x}");
            assert_eq!(written(expected).as_deref(), Some(expected));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_double_is_written_as_others_write_it(bits in any::<u64>()) {
            let double = f64::from_bits(bits);
            if double.is_finite() {
                let theirs = serde_json_canonicalizer::to_string(&double).unwrap();
                prop_assert_eq!(written(&theirs), Some(theirs.clone()));
                let other = serde_json::to_string(&double).unwrap();
                prop_assert_eq!(written(&other), Some(theirs));
            }
        }
    }
}
