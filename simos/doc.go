// Package simos is the reference operating system of a UICC, in software: the
// chip that the default line personalises, and the card that it becomes. It
// also has a Rack, which keeps such chips behind a socket, and its Reader.
//
// # What a chip is
//
// A Chip is a uicc.Card. It has no clock and draws nothing from outside: the
// same commands give the same answers. What survives a power loss is one flat
// memory; what does not is a session. All that one command writes stands or
// falls together, whenever the power goes; only the try counters of PINs go
// down on their own, before the comparison.
//
// Over T=0, the default, response data waits for GET RESPONSE (61xx) and a
// wrong Le is told (6Cxx). A chip made with Direct offers T=1 and answers at
// once; its ATR says so.
//
// # Driver "ankan-reference"
//
// Life cycle (data object DF20): 00 blank; 01 OP_READY, has its operating
// system; 07 INITIALIZED, has files; 0F SECURED, is a card; 7F CARD_LOCKED;
// FF TERMINATED.
//
// SCP03 with i = 70 (S8 or S16), pseudo-random challenge, key version 30 from
// the chip maker, AID A000000151000000. A chip that was made with Config.Old
// speaks SCP02 with i = 35 instead, key version 20: what is sealed below is then
// sealed under the session's key, keys are of triple DES. INITIALIZE UPDATE needs
// no SELECT before it, in any state but FF. The key diversification data is the
// serial number and 00 00. While a secure channel is open, commands in clear are
// refused (6982) except GET DATA, INITIALIZE UPDATE and GET RESPONSE. A wrong MAC
// ends the channel; so does INITIALIZE UPDATE or a reset.
//
// GET DATA (80 CA P1 P2 00, always allowed in clear) answers BER-TLV, tag
// first:
//
//	9F7F  CPLC, 42 bytes; bytes 10..17 serial number, 18..25 the lot's first
//	      eight characters, filled with 00
//	00E0  key information template
//	0066  card data; 0067 card capability
//	0042  issuer, "AKAN"; 0045 card, the serial number
//	00CF  key diversification data; 00C1 sequence counter, 3 bytes
//	FF21  applications, memory that is left
//	DF20  life cycle, 1 byte
//	DF21  SHA-256 of the loaded OS image (Image.Digest); 6A88 while blank
//	DF22  lot, ASCII
//
// In the order of a personalisation; all of it inside the secure channel, with
// at least C-MAC:
//
//	LOAD (80 E8, needs C-MAC and C-DEC) P1 = 00 more blocks, 80 the last;
//	    P2 = block number from 00. The blocks together are a signed Image.
//	    Blank chips only (6985). 6982: not the vendor's signature; 6A80: not
//	    an image; 6A86: not the next block; 6A84: longer than 48 KiB. The chip
//	    stays blank unless the last block gives 9000.
//	DELETE FILE (00 E4 00 00 02 3F00) before SECURED: files, authentication
//	    data, PINs, OTA keys and waiting SCP03 keys are gone, the chip is
//	    OP_READY. 9000 also if there was nothing. So the same chip can be tried
//	    again, under the chip maker's keys.
//	CREATE FILE (00 E0 00 00) data = FCP (uicc.FCP.Append). The first is the
//	    MF. What is created is current. ADFs stand under the MF: SELECT 3F00
//	    before the next one. Security is 8B with EF.ARR and record, or absent,
//	    which allows nothing; 8A is absent, 05 or 04; C1 and C2 fill the file,
//	    or each of its records. A BER-TLV file begins empty, without C1 and C2,
//	    and does not grow: A5/86 is absent or the size. No unknown objects (6A80).
//	    An ADF is found by its name only; its identifier is told in its FCP.
//	UPDATE BINARY, UPDATE RECORD, SET DATA, SELECT, READ ... as on a card; access
//	    rules are not asked. A cyclic file also takes absolute updates.
//	STORE DATA (80 E2) P1 = 00 or 80, P2 is not looked at. Data is whole DGIs:
//	    DGI, 2 bytes; length, 1 byte; value. Each command stands by itself.
//	    A001  authentication data of the current application: 01 (MILENAGE), 85
//	          bytes of constants if they are not the standard ones, SealKey(K,
//	          OPc); 02 (TUAK), the bytes of K, MAC, RES, CK and IK, iterations,
//	          SealKey(K, TOPc); 03 (XOR), SealKey(K). 6985 outside an application;
//	          6A80 if the OS image does not list the algorithm.
//	    A002  a remote management application: TAR, 3 bytes; minimum security
//	          level, coded as the first byte of an SPI; access domain: 00 all that
//	          is not never, FF nothing, 02 and three bytes, of which bits 1..5 of
//	          the second are ADM1..ADM5. It manages the files of the current
//	          application, or else the shared ones; TAR 000000 manages
//	          applications. A chip that is told of none has the usual ones, below.
//	    B0xx  the code with key reference xx: 01..08, 81..88 local to the current
//	          application (or else the MF), 0A..0E and 8A..8E ADM, 11 universal
//	          PIN. Flags (01 enabled), most tries 1..15, most tries of the unblock
//	          code 0..15 (0: there is none), SealKey(code, unblock code), 8 bytes
//	          each: 19 bytes. An ADM is always enabled; a PIN is 4..8 digits
//	          padded with FF.
//	    SealKey is scp.Static's, by the keys that the channel was opened with.
//	PUT KEY (80 D8) P2 = 81, three keys (scp.PutKey). Versions 01..0F are
//	    SCP80's KIC, KID, KIK, P1 = 00 or the version; the counter of new ones is 0.
//	    Versions 20..6F are the secure channel's ENC, MAC, DEK, P1 = the version in
//	    force; before SECURED they wait and take effect with SET STATUS, and the
//	    chip maker's keys are wiped. The answer is the version and the three check
//	    values.
//	SET STATUS (80 F0 80 0F) the chip is a card now: access rules rule, the MF is
//	    selected at reset, these DGIs are over. From then on 7F locks, 0F unlocks,
//	    FF ends the card.
//
// Before SECURED and outside the channel no file is read or changed (6982); PINs
// and AUTHENTICATE wait for SECURED (6985).
//
// # The card
//
// Eight logical channels, 0..3 in class bytes 0x and 8x, 4..7 in 4x and Cx. SELECT
// by identifier (P1 00), child DF (01), parent (03), AID or its beginning (04; P2
// bits 1 and 2 first, last, next, previous; no name is the card manager), path from
// the MF (08, which may begin with 7FFF) and from the current DF (09); P2 04 returns
// the FCP, 0C nothing, bit 7 ends the application's session. STATUS; READ and UPDATE
// BINARY; READ, UPDATE and SEARCH RECORD, simple and enhanced; INCREASE; RETRIEVE
// and SET DATA (80 CB, 80 DB); VERIFY, CHANGE, DISABLE, ENABLE and UNBLOCK PIN, the
// universal PIN (11) in the place of another (DISABLE with P1 91); AUTHENTICATE with
// P2 81 and, if EF.UST has service 38, 80 (Kc comes with CK and IK if it has service
// 27); GET IDENTITY; MANAGE CHANNEL; GET CHALLENGE; CREATE, DELETE, RESIZE, ACTIVATE,
// DEACTIVATE and TERMINATE by the access rules, INCREASE and RESIZE by their
// instruction bytes; TERMINAL PROFILE. A cyclic file cannot be resized. What deleted
// and resized files leave is used again. SUSPEND UICC is 6D00.
//
// Each ADF may have its own codes and authentication data; an ISIM has its own.
//
// GET IDENTITY (80 78 00 01) gives the SUCI of EF.IMSI under A1, if EF.UST has
// services 124 and 125 and PIN1 was verified: profile A or B by
// EF.SUCI_Calc_Info_USIM of DF.SAIP, the first scheme that is known; the null scheme
// if there is none. A list or key that is malformed is 6985, never the IMSI in clear.
//
// # The card as a SIM
//
// Class A0 (TS 51.011) works on the same files, codes and counters on channel 0:
// SELECT, STATUS, READ and UPDATE BINARY and RECORD, SEEK, INCREASE, the CHV
// commands, INVALIDATE, REHABILITATE, RUN GSM ALGORITHM, SLEEP, ENVELOPE and the like.
// If the MF has no DF.GSM, 7F20 is the first USIM: 6F20 and 6F52 are 4F20 and 4F52
// of its DF.GSM-ACCESS, 6F53 is EF.PSLOCI; what else has a SIM's identifier is the
// USIM's own, so EF.SST reads as EF.UST. CHV1 is PIN 01, CHV2 the USIM's PIN 81,
// 04..08 and 0A..0E are the ADMs. RUN GSM ALGORITHM wants service 38. BER-TLV files
// are not there. Before SECURED class A0 is 6E00.
//
// # Content management
//
// Inside the card manager's secure channel, or by packets for TAR 000000: INSTALL
// (80 E6) for load (02), install (04), make selectable (08), both (0C), extradition
// (10), personalization (20); LOAD (80 E8) of the announced load file; DELETE (80
// E4) of instances, load files (P2 80: and what was made of them) and keys by
// version (D2); GET STATUS (80 F2, P1 80, 40, 20, 10, P2 02, 03 for more); SET STATUS
// of an application (40; an ADF is deactivated and activated) or of a security
// domain with what belongs to it (60). ADFs are in the registry.
//
// A load file is taken if its hash is the one that was announced, if all
// signatures (DAP) that security domains want are there and right, and if it is a
// sound CAP file (gp.ParseLoadFile). No code is run: an instance is selectable,
// keeps what STORE DATA gives it (P1 08 DGIs, 10 BER-TLV; whole objects in each
// command) and answers it to GET DATA by DGI or tag.
//
// Security domains are made of module A000000151535041 of A0000001515350. PUT KEY in
// the card manager's channel with one selected, or in its own, gives it keys; until
// then it and what belongs to it use the card manager's. With P2 01 and version 73 it
// gets its DAP key: AES, or P-256 (B0, point, F0 01 00). Further key versions of the
// card manager stand beside the one in force (P1 00). It manages no content itself;
// tokens are refused (6985), receipts are not made.
//
// # Over the air
//
// ENVELOPE (80 C2) with an SMS-PP download takes secured packets (SCP80), alone or
// concatenated; the proof of receipt is the answer, or, if the SPI says so or it is
// long, a proactive SEND SHORT MESSAGE (91xx, FETCH, TERMINAL RESPONSE). The counter
// of KID's version is kept before anything is done. A packet whose keys are not there
// is 6985. Scripts are compact or expanded (TS 102 226); each command stands by
// itself, an error ends the script. Answers are cut to 96 bytes (62F1).
//
// Without A002: 000000 manages applications; B00000 the files of the MF; B00010 and
// B00011 those of the first ADF, B00012..B00020 of the others. Their minimum level is 16
// (checksum, ciphered, counter higher), their domain 00. PUT KEY over the air is of
// AES only.
//
// SET DATA of a tag alone deletes (6A88: there is none); length 0 is an object
// without a value. Blocks before the last are answered 63F1 and change nothing;
// the last one changes the file in one go. Tag 5C is kept for the list of tags,
// which RETRIEVE DATA answers as an object too; what does not fit one answer ends
// with 62F1. SELECT, another EF, a refused block or a new first block on the same
// logical channel ends a transfer, as SET DATA on any channel ends a RETRIEVE DATA
// of that file (6985 to the next block); STATUS and the like do not.
//
// A rule is found through 8B of the file: the EF.ARR with that identifier in the
// file's directory (of a DF, in itself) or else in the ones above.
package simos
