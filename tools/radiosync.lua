-- A Wireshark dissector for the radiosync protocol, version 1 (radiosync/wire/PROTOCOL.md).
--
--     wireshark -X lua_script:tools/radiosync.lua        or copy it into Help > About > Folders > Personal Lua Plugins
--     tshark -X lua_script:tools/radiosync.lua -i eth0 -Y radiosync
--
-- Datagrams are recognised on the port of the preferences and the one after it, and on any other port by how they begin.
-- The port after those is the clock's, and is shown as NTP.

local radiosync = Proto("radiosync", "radiosync")

local KINDS = {
    [1] = "ANNOUNCE", [2] = "SONG", [3] = "AUDIO", [4] = "BYE", [5] = "SYNC", [6] = "SOLO",
    [16] = "SOLICIT", [17] = "NACK", [18] = "REPORT", [19] = "LEAVE",
}
local PLAY_STATES = { [0] = "STOPPED", [1] = "PLAYING", [2] = "PAUSED" }
local SAMPLES = { [1] = "S16", [2] = "S24", [3] = "S32", [4] = "F32" }
local CODECS = { [1] = "PCM", [2] = "FLAC", [3] = "OPUS" }
local REASONS = { [1] = "ENDED", [2] = "STOPPED" }
local PHASES = { [1] = "PREPARE", [2] = "GO" }
local LISTENER_STATES = {
    [0] = "WAITING", [1] = "SYNCING", [2] = "BUFFERING", [3] = "PLAYING", [4] = "ENDED", [5] = "PAUSED",
}
local NAME_MAX, TAG_MAX = 64, 200
local SOLICIT_BYTES = 400

local f = {}
local function field(make, name, title, ...)
    f[name] = make("radiosync." .. name, title, ...)
end
local u8, u16, u32, u64 = ProtoField.uint8, ProtoField.uint16, ProtoField.uint32, ProtoField.uint64
local i32, i64, text, bytes = ProtoField.int32, ProtoField.int64, ProtoField.string, ProtoField.bytes

field(u16, "magic", "Magic", base.HEX)
field(u8, "version", "Version")
field(u8, "kind", "Kind", base.DEC, KINDS)
field(u32, "crc", "CRC-32", base.HEX)
field(u64, "session", "Session", base.HEX)
field(u32, "timeline.version", "Timeline version")
field(u32, "timeline.epoch", "Timeline epoch")
field(u8, "timeline.state", "State", base.DEC, PLAY_STATES)
field(u64, "timeline.media_frame", "Media frame")
field(i64, "timeline.effective_at", "Effective at")
field(i64, "sent_at", "Sent at")
field(u32, "rate", "Rate")
field(u8, "channels", "Channels")
field(u8, "sample", "Sample format", base.DEC, SAMPLES)
field(u16, "control_port", "Control port")
field(u16, "clock_port", "Clock port")
field(u32, "chunk_frames", "Chunk frames")
field(u32, "play_seq", "Play sequence number")
field(u64, "play_frame", "Play frame")
field(u32, "next_seq", "Next sequence number")
field(u64, "final_frame", "Final frame")
field(u32, "buffer_ms", "Buffer (ms)")
field(u32, "buffered_ms", "Buffered (ms)")
field(u32, "song_id", "Song")
field(u64, "nonce", "Nonce", base.HEX)
field(u64, "cookie", "Cookie", base.HEX)
field(u16, "report_ms", "Report every (ms)")
field(u16, "clock_ms", "Ask the clock at most every (ms)")
field(text, "host_name", "Host name", base.UNICODE)
field(u64, "first_frame", "First frame")
field(u64, "song_frames", "Frames of the song")
field(text, "title", "Title", base.UNICODE)
field(text, "artist", "Artist", base.UNICODE)
field(text, "album", "Album", base.UNICODE)
field(u32, "seq", "Sequence number")
field(u32, "epoch", "Epoch")
field(u32, "frames", "Frames")
field(i64, "play_at", "Play at")
field(u64, "song_frame", "Frame in the song")
field(u32, "buffer_position_ms", "Buffer position (ms)")
field(i64, "stamped_at", "Stamped at")
field(u8, "tier", "Tier")
field(u8, "tiers", "Qualities beside lossless")
field(u8, "offer.tier", "Tier")
field(u8, "offer.active", "Being sent")
field(u16, "offer.kbps", "kbit/s")
field(u32, "offer.next_seq", "Sent before")
field(u8, "codec", "Codec", base.DEC, CODECS)
field(u32, "coded_bytes", "Coded bytes")
field(u16, "symbol_bytes", "Symbol bytes")
field(u16, "symbols", "Symbols")
field(u16, "index", "Index")
field(u8, "flags", "Flags", base.HEX)
f["repair"] = ProtoField.bool("radiosync.repair", "Repair", 8, nil, 1)
field(bytes, "payload", "Payload")
field(u8, "reason", "Reason", base.DEC, REASONS)
field(u8, "phase", "Sync phase", base.DEC, PHASES)
field(u64, "target_frame", "Target frame")
field(i64, "sync_at", "Sync at")
field(u32, "required_ms", "Required (ms)")
field(u32, "slowest_latency_us", "Latency of the slowest (µs)")
field(u32, "buffer_offset_ms", "Buffered from the target on (ms)")
field(u16, "waiting", "Listeners that are not ready")
field(text, "slowest", "Slowest listener", base.UNICODE)
field(text, "sync_reason", "Why", base.UNICODE)
field(u64, "listener_id", "Listener", base.HEX)
field(u16, "run", "Run of chunks")
field(u8, "bitmap_bytes", "Bitmap length")
field(bytes, "bitmap", "Bitmap")
field(u8, "wants_copy", "Wants a copy by unicast")
field(u8, "state", "Listener state", base.DEC, LISTENER_STATES)
field(i64, "rtt_ns", "Round trip (ns)")
field(i64, "down_ns", "Way from the host (ns)")
field(i64, "up_ns", "Way to the host (ns)")
field(i64, "echo_at", "Echo of the announcement sent at")
field(i64, "echo_held_ns", "Heard before (ns)")
field(u64, "ready_frame", "Ready for frame")
field(u32, "lead_ms", "Render lead (ms)")
field(i64, "offset_bound_ns", "Offset bound (ns)")
field(i64, "sync_error_ns", "Sync error (ns)")
field(i32, "rate_ppb", "Rate correction (ppb)")
field(u32, "symbols_received", "Symbols received")
field(u32, "symbols_lost", "Symbols lost")
field(u32, "symbols_repaired", "Symbols repaired")
field(u32, "chunks_late", "Chunks late")
field(u32, "chunks_concealed", "Chunks concealed")
field(u32, "underruns", "Underruns")
field(u32, "hard_resyncs", "Hard resyncs")
field(u32, "jitter_us", "Jitter (µs)")
field(i32, "offset_us", "Told to play later by (µs)")
field(u8, "solos", "Stretches")
field(u64, "solo.listener_id", "Alone", base.HEX)
field(u64, "solo.first_frame", "First frame")
field(u32, "solo.frames", "Frames")
field(text, "name", "Name", base.UNICODE)
field(bytes, "padding", "Padding")
do
    local all = {}
    for _, each in pairs(f) do
        all[#all + 1] = each
    end
    radiosync.fields = all
end

local bad_crc = ProtoExpert.new("radiosync.bad_crc", "CRC-32 is wrong", expert.group.CHECKSUM, expert.severity.ERROR)
local malformed = ProtoExpert.new("radiosync.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR)
radiosync.experts = { bad_crc, malformed }

-- Lua 5.2 has bit32, Wireshark once brought bit, and later Luas have an operator that earlier ones can't read.
local xor = (bit32 and bit32.bxor) or (bit and bit.bxor) or load("return function(a, b) return a ~ b end")()

local crc_table = {}
for byte = 0, 255 do
    local c = byte
    for _ = 1, 8 do
        local half = math.floor(c / 2)
        c = c % 2 == 1 and xor(half, 0xedb88320) % 0x100000000 or half
    end
    crc_table[byte] = c
end

-- Returns the CRC-32 of a datagram with its own field counted as 0.
local function crc_of(tvb)
    local data = tvb:bytes()
    local c = 0xffffffff
    for i = 0, data:len() - 1 do
        local byte = (i >= 4 and i < 8) and 0 or data:get_index(i)
        c = xor(crc_table[xor(c % 256, byte) % 256], math.floor(c / 256)) % 0x100000000
    end
    return xor(c, 0xffffffff) % 0x100000000
end

-- A reader that adds fields to a tree one after the other and stops at the end of the datagram.
local Reader = {}
Reader.__index = Reader

function Reader.new(tvb, position)
    return setmetatable({ tvb = tvb, position = position, values = {} }, Reader)
end

function Reader:take(size)
    if self.position + size > self.tvb:len() then
        error({ malformed = "it ends in the middle of a field" })
    end
    local range = self.tvb(self.position, size)
    self.position = self.position + size
    return range
end

function Reader:skip(size)
    self:take(size)
end

function Reader:number(tree, name, size)
    local range = self:take(size)
    local item = tree:add(f[name], range)
    if size <= 4 then
        self.values[name] = range:uint()
    elseif range:uint64() == UInt64.max() then
        item:append_text(" (not known)")
    end
    return item, range
end

function Reader:instant(tree, name)
    local range = self:take(8)
    local item = tree:add(f[name], range)
    local ns = range:int64()
    if ns > Int64(0) then
        local seconds = (ns / Int64(1000000000)):tonumber()
        local rest = (ns % Int64(1000000000)):tonumber()
        item:append_text(os.date(" (!%Y-%m-%d %H:%M:%S", seconds):gsub("!", "") .. string.format(".%09d UTC)", rest))
    end
end

function Reader:text(tree, name, longest)
    local length = self:take(1):uint()
    if length > longest then
        error({ malformed = name .. " is longer than " .. longest .. " bytes" })
    end
    local shown = ""
    if length > 0 then
        local range = self:take(length)
        shown = range:string(ENC_UTF_8)
        tree:add(f[name], range, shown)
    else
        tree:add(f[name], self.tvb(self.position - 1, 1), "")
    end
    return shown
end

function Reader:rest()
    return self.tvb:len() - self.position
end

function Reader:finish()
    if self:rest() > 0 then
        error({ malformed = self:rest() .. " bytes too many" })
    end
end

local function timeline(r, tree)
    local sub = tree:add(radiosync, r.tvb(r.position, math.min(28, r:rest())), "Timeline")
    r:number(sub, "timeline.version", 4)
    r:number(sub, "timeline.epoch", 4)
    r:number(sub, "timeline.state", 1)
    r:skip(3)
    r:number(sub, "timeline.media_frame", 8)
    r:instant(sub, "timeline.effective_at")
    sub:append_text(string.format(", version %d, epoch %d, %s", r.values["timeline.version"],
        r.values["timeline.epoch"], PLAY_STATES[r.values["timeline.state"]] or "?"))
end

local function ask(r, tree)
    r:number(tree, "cookie", 8)
    r:number(tree, "listener_id", 8)
end

local decoders = {}

decoders[1] = function(r, tree)
    timeline(r, tree)
    r:instant(tree, "sent_at")
    r:number(tree, "rate", 4)
    r:number(tree, "channels", 1)
    r:number(tree, "sample", 1)
    r:number(tree, "control_port", 2)
    r:number(tree, "clock_port", 2)
    r:number(tree, "chunk_frames", 4)
    r:number(tree, "play_seq", 4)
    r:number(tree, "play_frame", 8)
    r:number(tree, "next_seq", 4)
    r:number(tree, "final_frame", 8)
    r:number(tree, "buffer_ms", 4)
    r:number(tree, "buffered_ms", 4)
    r:number(tree, "song_id", 4)
    local _, nonce = r:number(tree, "nonce", 8)
    r:number(tree, "cookie", 8)
    r:number(tree, "report_ms", 2)
    r:number(tree, "clock_ms", 2)
    local name = r:text(tree, "host_name", NAME_MAX)
    local tiers = r:number(tree, "tiers", 1)
    for _ = 1, r.values.tiers do
        local sub = tree:add(radiosync, r.tvb(r.position, math.min(8, r:rest())), "Quality")
        r:number(sub, "offer.tier", 1)
        r:number(sub, "offer.active", 1)
        r:number(sub, "offer.kbps", 2)
        r:number(sub, "offer.next_seq", 4)
        local v = r.values
        sub:append_text(string.format(" %d, %d kbit/s%s", v["offer.tier"], v["offer.kbps"],
            v["offer.active"] ~= 0 and ", being sent" or ""))
    end
    r:finish()
    local v = r.values
    local answer = nonce:uint64() ~= UInt64(0) and " (answer)" or ""
    return string.format("%s%s, %d Hz, %d ch, due %d, sent before %d", name, answer, v.rate, v.channels, v.play_seq,
        v.next_seq)
end

decoders[2] = function(r, tree)
    timeline(r, tree)
    r:number(tree, "song_id", 4)
    r:number(tree, "first_frame", 8)
    r:number(tree, "song_frames", 8)
    local title = r:text(tree, "title", TAG_MAX)
    local artist = r:text(tree, "artist", TAG_MAX)
    r:text(tree, "album", TAG_MAX)
    r:finish()
    return string.format("%d: %s, %s", r.values.song_id, title, artist)
end

decoders[3] = function(r, tree)
    timeline(r, tree)
    r:number(tree, "seq", 4)
    r:number(tree, "epoch", 4)
    r:number(tree, "first_frame", 8)
    r:number(tree, "frames", 4)
    r:instant(tree, "play_at")
    r:number(tree, "song_id", 4)
    r:number(tree, "song_frame", 8)
    r:number(tree, "buffer_position_ms", 4)
    r:instant(tree, "stamped_at")
    r:number(tree, "codec", 1)
    r:number(tree, "tier", 1)
    r:number(tree, "coded_bytes", 4)
    r:number(tree, "symbol_bytes", 2)
    r:number(tree, "symbols", 2)
    r:number(tree, "index", 2)
    local flags, range = r:number(tree, "flags", 1)
    flags:add(f["repair"], range)
    r:skip(1)
    local v = r.values
    local wanted = v.index == v.symbols - 1 and v.coded_bytes - v.index * v.symbol_bytes or v.symbol_bytes
    if wanted ~= r:rest() then
        error({ malformed = "payload of " .. r:rest() .. " bytes instead of " .. wanted })
    end
    if r:rest() > 0 then
        tree:add(f["payload"], r:take(r:rest()))
    end
    local what = v.index >= v.symbols and " (parity)" or ""
    return string.format("%d, symbol %d of %d%s%s, %s%s", v.seq, v.index, v.symbols, what,
        v.flags % 2 == 1 and " (repair)" or "", CODECS[v.codec] or "?", v.tier > 0 and ", tier " .. v.tier or "")
end

decoders[4] = function(r, tree)
    timeline(r, tree)
    r:number(tree, "reason", 1)
    r:skip(7)
    r:number(tree, "final_frame", 8)
    r:finish()
    return REASONS[r.values.reason] or "?"
end

decoders[5] = function(r, tree)
    timeline(r, tree)
    r:number(tree, "phase", 1)
    r:skip(3)
    local _, target = r:number(tree, "target_frame", 8)
    r:instant(tree, "sync_at")
    r:number(tree, "required_ms", 4)
    r:number(tree, "slowest_latency_us", 4)
    r:number(tree, "buffer_offset_ms", 4)
    r:number(tree, "waiting", 2)
    r:text(tree, "slowest", NAME_MAX)
    local reason = r:text(tree, "sync_reason", TAG_MAX)
    r:finish()
    return string.format("%s frame %s: %s", PHASES[r.values.phase] or "?", tostring(target:uint64()), reason)
end

decoders[6] = function(r, tree)
    timeline(r, tree)
    r:number(tree, "solos", 1)
    local count = r.values.solos
    for _ = 1, count do
        local sub = tree:add(radiosync, r.tvb(r.position, math.min(20, r:rest())), "Stretch")
        r:number(sub, "solo.listener_id", 8)
        local _, first = r:number(sub, "solo.first_frame", 8)
        r:number(sub, "solo.frames", 4)
        sub:append_text(string.format(", %d frames from %s", r.values["solo.frames"], tostring(first:uint64())))
    end
    r:finish()
    return string.format("%d stretches", count)
end

decoders[16] = function(r, tree)
    r:number(tree, "nonce", 8)
    if r.tvb:len() ~= SOLICIT_BYTES then
        error({ malformed = "it does not have " .. SOLICIT_BYTES .. " bytes" })
    end
    tree:add(f["padding"], r:take(r:rest()))
    return "who hosts here?"
end

decoders[17] = function(r, tree)
    ask(r, tree)
    local shown, count = {}, 0
    while r:rest() > 0 do
        local start = r.position
        local sub = tree:add(radiosync, r.tvb(start), "Missing")
        r:number(sub, "seq", 4)
        r:number(sub, "run", 2)
        r:number(sub, "tier", 1)
        r:number(sub, "bitmap_bytes", 1)
        local v, said = r.values, nil
        if v.bitmap_bytes > 0 then
            local range = r:take(v.bitmap_bytes)
            local symbols = {}
            for i = 0, 8 * v.bitmap_bytes - 1 do
                if math.floor(range(math.floor(i / 8), 1):uint() / 2 ^ (i % 8)) % 2 == 1 then
                    symbols[#symbols + 1] = tostring(i)
                end
            end
            said = string.format("%d: %s", v.seq, table.concat(symbols, " "))
            sub:add(f["bitmap"], range)
        else
            said = v.run > 1 and string.format("%d to %d", v.seq, v.seq + v.run - 1) or tostring(v.seq)
        end
        said = said .. (v.tier > 0 and " of tier " .. v.tier or "")
        sub:set_len(r.position - start)
        sub:append_text(": " .. said)
        count = count + 1
        if count <= 4 then
            shown[count] = said
        end
    end
    return table.concat(shown, "; ") .. (count > 4 and " ..." or "")
end

decoders[18] = function(r, tree)
    ask(r, tree)
    r:number(tree, "state", 1)
    r:number(tree, "tier", 1)
    r:number(tree, "wants_copy", 1)
    r:skip(1)
    for _, name in ipairs({ "rtt_ns", "down_ns", "up_ns" }) do
        tree:add(f[name], r:take(8))
    end
    r:instant(tree, "echo_at")
    tree:add(f["echo_held_ns"], r:take(8))
    r:number(tree, "ready_frame", 8)
    r:number(tree, "lead_ms", 4)
    for _, name in ipairs({ "offset_bound_ns", "sync_error_ns" }) do
        tree:add(f[name], r:take(8))
    end
    tree:add(f["rate_ppb"], r:take(4))
    for _, name in ipairs({
        "buffer_ms", "symbols_received", "symbols_lost", "symbols_repaired", "chunks_late", "chunks_concealed",
        "underruns", "hard_resyncs", "jitter_us",
    }) do
        r:number(tree, name, 4)
    end
    tree:add(f["offset_us"], r:take(4))
    local name = r:text(tree, "name", NAME_MAX)
    r:finish()
    local v = r.values
    return string.format("%s, %s, %d ms, lost %d, repaired %d", name, LISTENER_STATES[v.state] or "?", v.buffer_ms,
        v.symbols_lost, v.symbols_repaired)
end

decoders[19] = function(r, tree)
    ask(r, tree)
    r:finish()
    return ""
end

local function looks_like_ours(tvb)
    return tvb:len() >= 16 and tvb(0, 2):uint() == 0x5253 and tvb(2, 1):uint() == 1 and KINDS[tvb(3, 1):uint()] ~= nil
end

function radiosync.dissector(tvb, pinfo, root)
    if not looks_like_ours(tvb) then
        return 0
    end
    pinfo.cols.protocol = "radiosync"
    local kind = tvb(3, 1):uint()
    local tree = root:add(radiosync, tvb(), "radiosync, " .. KINDS[kind])
    tree:add(f["magic"], tvb(0, 2))
    tree:add(f["version"], tvb(2, 1))
    tree:add(f["kind"], tvb(3, 1))
    local crc = tree:add(f["crc"], tvb(4, 4))
    -- A capture that was cut short has no CRC to check.
    if tvb:captured_len() == tvb:reported_len() then
        local expected = crc_of(tvb)
        if expected == tvb(4, 4):uint() then
            crc:append_text(" (right)")
        else
            crc:append_text(string.format(" (wrong, should be 0x%08x)", expected))
            crc:add_proto_expert_info(bad_crc)
        end
    end
    tree:add(f["session"], tvb(8, 8))
    local done, said = pcall(decoders[kind], Reader.new(tvb, 16), tree)
    if not done then
        local why = type(said) == "table" and said.malformed or tostring(said)
        tree:add_proto_expert_info(malformed, "Malformed: " .. why)
        said = "malformed: " .. why
    end
    pinfo.cols.info = KINDS[kind] .. (said ~= "" and " " .. said or "")
    return tvb:len()
end

local function heuristic(tvb, pinfo, root)
    if not looks_like_ours(tvb) then
        return false
    end
    radiosync.dissector(tvb, pinfo, root)
    return true
end

radiosync.prefs.port = Pref.uint("UDP port of the group", 45450, "The control port is the next, the clock's the one after")

local registered = nil
local function register()
    local udp = DissectorTable.get("udp.port")
    local ntp = udp:get_dissector(123)
    if registered then
        udp:remove(registered, radiosync)
        udp:remove(registered + 1, radiosync)
        if ntp then
            udp:remove(registered + 2, ntp)
        end
    end
    registered = radiosync.prefs.port
    udp:add(registered, radiosync)
    udp:add(registered + 1, radiosync)
    if ntp then
        udp:add(registered + 2, ntp)
    end
end

function radiosync.prefs_changed()
    if radiosync.prefs.port ~= registered then
        register()
    end
end

register()
radiosync:register_heuristic("udp", heuristic)
