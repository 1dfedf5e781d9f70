"""The limits of the protocol, each with its reason."""

DATAGRAM_MAX = 1200  # never fragmented: below IPv6's least MTU of 1280 with headers to spare (RFC 9000 section 14)
UDP_IP_BYTES = 8 + 20  # what UDP and IPv4 put in front of a datagram; IPv6 puts 20 more, 2 % that rates leave out
SOLICIT_BYTES = 400  # padded, so that an answer is never more than three times what it answers (RFC 9000 section 8)
NAME_MAX = 64  # bytes of UTF-8: a name on a screen
TAG_MAX = 200  # bytes of UTF-8: three of them fit a datagram with room
NACK_ENTRIES_MAX = 256  # more do not fit a datagram
SOLOS_MAX = 48  # stretches in one datagram: what fits, rounded
TIERS_MAX = 8  # qualities of one stream, lossless included; a group address each
NACK_RUN_MAX = 4096  # chunks in one run: beyond any buffer
PARITY_MAX = 64  # with the source symbols they fit a code over GF(256)
