//! Identity numbers as they are typed in: one spelling, and the check character of GB 11643 where it applies.

/// Why an identity number is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdNumberError {
    #[error("an identity number has 6 to 30 letters and digits")]
    Format,
    #[error("the check character of this 18-digit identity number is wrong")]
    CheckCharacter,
}

/// Upper case without blanks: a lower-case `x` would be answered with "no loan found" (未查到贷款信息).
/// The check character is verified only where the number has the form of GB 11643; other documents (such as those
/// with a `Y`) have none.
pub fn normalise(typed: &str) -> Result<String, IdNumberError> {
    let number: String = typed.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
    if !(6..=30).contains(&number.len()) || !number.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(IdNumberError::Format);
    }
    match resident_digits(number.as_bytes()) {
        Some(expected) if number.as_bytes().last() != Some(&expected) => Err(IdNumberError::CheckCharacter),
        _ => Ok(number),
    }
}

/// The check character that an 18-character resident number must have; `None` for any other document.
/// ISO 7064 MOD 11-2 with the weights of GB 11643-1999.
fn resident_digits(number: &[u8]) -> Option<u8> {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let (check, digits) = number.split_last()?;
    if digits.len() != WEIGHTS.len()
        || !digits.iter().all(u8::is_ascii_digit)
        || !(check.is_ascii_digit() || *check == b'X')
    {
        return None;
    }
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    Some(b"10X98765432"[(sum % 11) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_character_is_verified_and_lower_case_is_lifted() {
        for valid in ["11010519491231002X", "440524188001010014", "34052419800101001X"] {
            assert_eq!(normalise(valid).as_deref(), Ok(valid));
        }
        assert_eq!(normalise(" 11010519491231002x ").as_deref(), Ok("11010519491231002X"));
        assert_eq!(normalise("110105194912310021"), Err(IdNumberError::CheckCharacter));
    }

    #[test]
    fn other_documents_pass_without_a_check() {
        assert_eq!(normalise("11010519491231002y").as_deref(), Ok("11010519491231002Y"));
        assert_eq!(normalise("110105491231002").as_deref(), Ok("110105491231002"), "the old form has 15 digits");
        assert_eq!(normalise("身份证"), Err(IdNumberError::Format));
        assert_eq!(normalise(""), Err(IdNumberError::Format));
    }
}
