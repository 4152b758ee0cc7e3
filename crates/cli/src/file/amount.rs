//! Amounts as people write them: memory such as `512M`, processor time such as `0.5`.

/// What one process can be given at most; a larger number is a mistake.
const MEMORY_MAX: u64 = 1 << 50;
/// The least that Docker accepts as a limit of memory.
const MEMORY_MIN: u64 = 6 << 20;
/// From a hundredth of a core to a thousand cores, in thousandths.
const CPUS: std::ops::RangeInclusive<u32> = 10..=1_000_000;

/// Bytes of a text such as `512M`. As everywhere in Docker a `K` is 1024.
///
/// # Errors
/// What to write instead.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let size: u64 = match unit {
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "" if !number.is_empty() => {
            return Err(format!(
                "the amount \"{text}\" needs a unit; write for example \"{number}M\" (units: K, M, G)"
            ));
        }
        _ => {
            return Err(format!(
                "\"{text}\" is not an amount of memory; write for example \"512M\" (units: K, M, G)"
            ));
        }
    };
    if number.is_empty() {
        return Err(format!(
            "\"{text}\" is not an amount of memory; write for example \"512M\" (units: K, M, G)"
        ));
    }
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(size)).filter(|n| *n <= MEMORY_MAX);
    let bytes = bytes.ok_or_else(|| format!("\"{text}\" is more memory than there is"))?;
    if bytes < MEMORY_MIN {
        return Err(format!("\"{text}\" is too little memory to run anything; at least 6M"));
    }
    Ok(bytes)
}

/// Memory as [`memory`] takes it, exactly where it came from there.
pub(super) fn write_memory(bytes: u64) -> String {
    for (size, unit) in [(1 << 30, "G"), (1 << 20, "M")] {
        if bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{}K", bytes >> 10)
}

/// Thousandths of a core of a decimal number such as `0.5`.
///
/// # Errors
/// What to write instead.
pub(super) fn cpus(text: &str) -> Result<u32, String> {
    let wrong = || format!("\"{text}\" is not a number of cores; write for example 0.5, or 2");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) {
        return Err(wrong());
    }
    if part.trim_end_matches('0').len() > 3 {
        return Err(format!("cpus can be told to a thousandth of a core, and {text} is finer"));
    }
    let thousandths = format!("{part:0<3}");
    let number = whole.parse::<u32>().ok().and_then(|n| n.checked_mul(1_000));
    let number = number.zip(thousandths[..3].parse::<u32>().ok()).and_then(|(n, part)| n.checked_add(part));
    number.filter(|n| CPUS.contains(n)).ok_or_else(|| "cpus must be from 0.01 to 1000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{cpus, memory, write_memory};

    #[test]
    fn memory_is_counted_as_docker_counts_it() {
        for (text, bytes, again) in [
            ("512M", 512 << 20, "512M"),
            ("512MiB", 512 << 20, "512M"),
            ("2G", 2 << 30, "2G"),
            ("1024M", 1 << 30, "1G"),
            ("10000K", 10_000 << 10, "10000K"),
            ("6M", 6 << 20, "6M"),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
            assert_eq!(write_memory(bytes), again);
        }
        for (text, why) in [
            ("512", "the amount \"512\" needs a unit; write for example \"512M\" (units: K, M, G)"),
            ("512MB", "\"512MB\" is not an amount of memory; write for example \"512M\" (units: K, M, G)"),
            ("M", "\"M\" is not an amount of memory; write for example \"512M\" (units: K, M, G)"),
            ("", "\"\" is not an amount of memory; write for example \"512M\" (units: K, M, G)"),
            ("1.5G", "\"1.5G\" is not an amount of memory; write for example \"512M\" (units: K, M, G)"),
            ("-1G", "\"-1G\" is not an amount of memory; write for example \"512M\" (units: K, M, G)"),
            ("5M", "\"5M\" is too little memory to run anything; at least 6M"),
            ("99999999999999G", "\"99999999999999G\" is more memory than there is"),
            ("99999999999999999999999G", "\"99999999999999999999999G\" is more memory than there is"),
        ] {
            assert_eq!(memory(text), Err(why.to_owned()));
        }
    }

    #[test]
    fn cores_are_decimal_numbers() {
        for (text, thousandths) in
            [("0.5", 500), ("2", 2_000), ("1.25", 1_250), ("0.01", 10), ("0.333", 333), ("1.5000", 1_500)]
        {
            assert_eq!(cpus(text), Ok(thousandths), "{text}");
        }
        for (text, why) in [
            ("", "\"\" is not a number of cores; write for example 0.5, or 2"),
            ("-1", "\"-1\" is not a number of cores; write for example 0.5, or 2"),
            ("half", "\"half\" is not a number of cores; write for example 0.5, or 2"),
            (".5", "\".5\" is not a number of cores; write for example 0.5, or 2"),
            ("0.0001", "cpus can be told to a thousandth of a core, and 0.0001 is finer"),
            ("0", "cpus must be from 0.01 to 1000"),
            ("0.009", "cpus must be from 0.01 to 1000"),
            ("1001", "cpus must be from 0.01 to 1000"),
            ("9999999999", "cpus must be from 0.01 to 1000"),
        ] {
            assert_eq!(cpus(text), Err(why.to_owned()));
        }
    }
}
