"""The active ISO 4217 codes that have a minor unit, as a literal, dated table.

Reproduced as best known from the maintenance agency's List One as published on 2026-09-17, which includes every
amendment up to number 180 (Bulgaria's lev left on 2026-01-01). Codes without a minor unit (precious metals such as
XAU, accounting units such as XDR, XTS for tests, XXX for none) cannot price anything and are not in it. To update:
compare with a newer List One, change the rows and this date.
"""

from typing import Final

from ordering.domain.money import Currency

PUBLISHED: Final = "2026-09-17"
"""The date of the list this table reproduces."""

_CODES_BY_MINOR_UNITS: Final[dict[int, str]] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW
        CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF
        IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK
        MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP
        SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG
        YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

CURRENCIES: Final[dict[str, Currency]] = {
    code: Currency(code, minor_units) for minor_units, codes in _CODES_BY_MINOR_UNITS.items() for code in codes.split()
}
"""Every currency an order may have, by code. The objects are shared: one per currency in a process."""


def find(code: str) -> Currency | None:
    """The currency with exactly this code (three capitals), or None if there is none that can price an order."""
    return CURRENCIES.get(code)
