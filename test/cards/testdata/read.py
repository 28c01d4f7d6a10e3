# Reads a card through pyscard as any program would, and prints what it found as
# JSON. Arguments: the reader's name, RAND and AUTN in hexadecimal digits.
import json
import sys

from smartcard.System import readers
from smartcard.util import toBytes, toHexString

name, rand, autn = sys.argv[1:]
reader = next(r for r in readers() if str(r) == name)
card = reader.createConnection()
card.connect()


def send(text, want=0x9000):
    data, sw1, sw2 = card.transmit(toBytes(text))
    if sw1 == 0x61:
        data, sw1, sw2 = card.transmit([0x00, 0xC0, 0x00, 0x00, sw2])
    elif sw1 == 0x6C:
        data, sw1, sw2 = card.transmit(toBytes(text)[:4] + [sw2])
    if sw1 << 8 | sw2 != want:
        sys.exit("%s: status %02X%02X" % (text, sw1, sw2))
    return toHexString(data).replace(" ", "")


found = {"atr": toHexString(card.getATR()).replace(" ", "")}
send("00 A4 00 04 02 3F 00")
send("00 A4 00 04 02 2F E2")
found["iccid"] = send("00 B0 00 00 0A")
send("00 A4 00 04 02 2F 00")
found["dir"] = send("00 B2 01 04 00")
found["usim"] = send("00 A4 04 04 07 A0 00 00 00 87 10 02")
send("00 A4 00 04 02 6F 07")
found["imsi"] = send("00 B0 00 00 09")
found["authenticate"] = send("00 88 00 81 22 10 " + rand + " 10 " + autn)
card.disconnect()
print(json.dumps(found))
