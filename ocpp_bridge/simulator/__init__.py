"""A simulated charging station: behaves as a decent OCPP 1.6 station does, also when the line breaks.

It boots, reports its connectors, charges, answers commands, and repeats transaction messages until they are confirmed
(OCPP 1.6 §3.7.1). Used by `ocpp-bridge simulate`, the demonstration, tests and benches.
"""

from .commands import SimulatedStation
from .line import CallRefused
from .model import Car, Connector, Transaction

__all__ = ["CallRefused", "Car", "Connector", "SimulatedStation", "Transaction"]
