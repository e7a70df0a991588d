"""Why a client reaches no broker: its answers only say that there is none, its log and its error callback say more.

For a certificate that does not pass librdkafka has one message, whatever is wrong with it. So we look at it ourselves:
one TLS handshake with the same broker, on a thread of its own.
"""

import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Final

from confluent_kafka import KafkaError

from ordering.adapters.kafka.errors import error_of, is_telling, is_unreachable, reason_of, told_by, unavailable
from ordering.application.failures import BrokerUnavailable

LOGGER: Final = logging.getLogger("ordering.kafka")
LOGGER.addHandler(logging.NullHandler())  # commands say one line of their own; services show the log

HANDSHAKE_SECONDS: Final = 1.0
EXAMINE_AGAIN_SECONDS: Final = 30.0

_TLS_BROKER: Final = re.compile(r"\b(?:sasl_)?ssl://\[?([^\s/\]]+)\]?:(\d+)/")

_ANOTHER_HOST: Final = "the broker's certificate is made out to another host name than the one we connect to"
_UNTRUSTED: Final = "the broker's certificate is not signed by an authority that we trust"
_VERDICTS: Final[Mapping[int, str]] = {  # by OpenSSL's X509_V_ERR_*
    2: _UNTRUSTED,
    9: "the broker's certificate is not valid yet",
    10: "the broker's certificate has expired",
    18: _UNTRUSTED,
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
    23: "the broker's certificate is revoked",
    62: _ANOTHER_HOST,
    64: _ANOTHER_HOST,
}


class Diagnosis:
    """What one client has told so far. It is the client's ``logger``, and ``heard`` is its ``error_cb``.

    Both are called within the client's ``poll``; ``reason`` may be read by any thread. The client's log is passed on.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        """``options`` are the operator's properties of the client."""
        self._options = options
        self._has_certificate = any(
            options.get(name) for name in ("ssl.certificate.location", "ssl.certificate.pem", "ssl.keystore.location")
        )
        self.reason: str | None = None
        """In words for people; None if nothing is known that says more than that no broker can be reached."""
        self._verdict: str | None = None
        """What is wrong with the certificate, once we have looked at it."""
        self._examining: threading.Thread | None = None
        self._examined_at = -EXAMINE_AGAIN_SECONDS

    def heard(self, error: KafkaError) -> None:
        """The client's news."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN and not self._note(error.str()) and is_telling(error):
            self.reason = reason_of(error)

    def log(self, level: int, template: str, *arguments: object) -> None:
        """A line of the client's log."""
        text = template % arguments
        self._note(text)
        # Brokers close idle connections all the time; what is worth a line is logged as an error.
        if level >= logging.ERROR or "closed by peer" not in text:
            LOGGER.log(level, "%s", text)

    def clear(self) -> None:
        """A broker has answered."""
        self.reason = self._verdict = None

    def explain(self, failure: BaseException) -> BrokerUnavailable:
        """Ours for whatever the driver raised, with the reason if it only means that no broker was reached."""
        error = error_of(failure)
        if self.reason is not None and (error is None or is_unreachable(error)):
            return BrokerUnavailable(self.reason)
        return unavailable(failure)

    def wait(self) -> None:
        """Until the look at the certificate that is under way has ended, if there is one; a second or so."""
        thread = self._examining
        if thread is not None:
            thread.join()

    def _note(self, text: str) -> bool:
        found = told_by(text, has_certificate=self._has_certificate)
        if found is None:
            return False
        self._verdict = self._verdict if found.is_verdict else None
        self.reason = self._verdict or found.reason
        broker = _TLS_BROKER.search(text)
        if found.is_verdict and broker is not None and time.monotonic() - self._examined_at > EXAMINE_AGAIN_SECONDS:
            self._examined_at = time.monotonic()
            self._examining = threading.Thread(
                target=self._examine, args=(broker[1], int(broker[2])), name="kafka-diagnosis", daemon=True
            )
            self._examining.start()
        return True

    def _examine(self, host: str, port: int) -> None:
        verdict = certificate_verdict(
            host,
            port,
            ca=self._options.get("ssl.ca.location"),
            ca_pem=self._options.get("ssl.ca.pem"),
            names_matter=self._options.get("ssl.endpoint.identification.algorithm", "https") != "none",
        )
        if verdict is not None and self.reason is not None:  # else a broker has answered meanwhile
            self.reason = self._verdict = verdict


def certificate_verdict(host: str, port: int, *, ca: str | None, ca_pem: str | None, names_matter: bool) -> str | None:
    """What is wrong with a broker's certificate, in words; None if it passes or nobody knows. Blocks for seconds."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = names_matter
    try:
        if ca or ca_pem:
            context.load_verify_locations(cafile=ca, cadata=ca_pem)
        else:
            context.load_default_certs()
        with (
            socket.create_connection((host, port), timeout=HANDSHAKE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        known = _VERDICTS.get(error.verify_code)
        return known or f"the broker's certificate does not pass: {error.verify_message}"
    except (OSError, ValueError):
        return None
