"""Turns a date as it is written into a day, for the order and the calendar that all dates of a file allow."""

from __future__ import annotations

from datetime import date, timedelta

FIRST_DAY = date(2009, 1, 1)  # WhatsApp is not older, so no date of an export is
ORDERS = {"dmy": (2, 1, 0), "mdy": (2, 0, 1), "ymd": (0, 1, 2), "ydm": (0, 2, 1)}  # where year, month and day stand
ERAS = {"reiwa": 2018, "heisei": 1988, "minguo": 1911, "buddhist": -543}
Written = tuple[str, str, str, str]  # three numbers and the era

# The Persian year begins in March; in a leap year, Esfand has 30 days. Leap years repeat in 33 years from 1244 to 1472.
PERSIAN_LEAP = {1, 5, 9, 13, 17, 22, 26, 30}


def persian(year: int, month: int, day: int) -> date:
    """Convert a date of the Persian calendar, for the years 1300 to 1472."""
    leap = year % 33 in PERSIAN_LEAP
    longest = 31 if month <= 6 else 30 if month <= 11 or leap else 29
    if not (1300 <= year <= 1472 and 1 <= month <= 12 and 1 <= day <= longest):
        raise ValueError(f"{year}/{month}/{day} is no date of the Persian calendar")
    days = sum(366 if past % 33 in PERSIAN_LEAP else 365 for past in range(1300, year))
    before = (month - 1) * 31 if month <= 7 else 186 + (month - 7) * 30
    return date(1921, 3, 21) + timedelta(days=days + before + day - 1)


def read_day(written: Written, order: str) -> date:
    """Read a date in an order; ValueError if there is no such day."""
    era = written[3]
    year, month, day = (written[place] for place in ORDERS[order])
    number = int(year)
    if era in ("reiwa", "heisei", "minguo"):
        return date(number + ERAS[era], int(month), int(day))
    if era == "islamic":
        raise ValueError("Islamic dates are not read")
    if len(year) == 3 and order == "ymd" and 98 <= number <= 150:
        return date(number + ERAS["minguo"], int(month), int(day))
    if len(year) not in (2, 4):
        raise ValueError(f"{year} is not a year")
    if era == "buddhist" or 2552 <= number <= 2700:
        number = number if len(year) == 4 else 2500 + number
        return date(number + ERAS["buddhist"], int(month), int(day))
    if era == "persian" or 1387 <= number <= 1472:
        return persian(number if len(year) == 4 else 1400 + number, int(month), int(day))
    return date(number + (2000 if len(year) == 2 else 0), int(month), int(day))


def is_plausible(written: Written, order: str, today: date) -> bool:
    """Check whether a message can be of this day. The phone may be a day ahead of this machine."""
    try:
        return FIRST_DAY <= read_day(written, order) <= today + timedelta(days=1)
    except ValueError:
        return False
