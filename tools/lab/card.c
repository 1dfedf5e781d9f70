/*
 * card: an ALSA sound card in user space, for measuring how well players keep together.
 *
 * The converter is arithmetic, not a thread: a stream started at t0 has played floor((t - t0) * rate * (1 + ppm / 1e6))
 * frames at time t.  Frame n thus leaves at exactly t0 + n / true_rate, however late any process is scheduled, and an
 * underrun happens only when the program really did not deliver in time.
 *
 * A card with an "in" can be captured from too: its converter takes in the mono samples of that file, the same into every
 * channel, from the start of the stream on, and silence after its end.  An overrun happens when they are not fetched in
 * time.
 *
 * PREFIX.s16 gets the first channel of every frame handed over.  PREFIX.jsonl gets a line for every open, set-up, start,
 * underrun and stop, with its time and the place in PREFIX.s16 at which the stream begins.
 *
 * All times are the machine's CLOCK_MONOTONIC_RAW, in ns: a time namespace's offset is taken off again, and the system
 * calls are made directly, so that a preloaded clock (skew.c) does not reach the card.
 *
 *   pcm.!default { type lab  out "PREFIX"  ppm 20.0  step 1  in "SOUND.s16" }    step: frames by which the pointer moves
 */
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL
#define BLOCK 1024

typedef struct {
	snd_pcm_ioplug_t io;
	double ppm, true_rate;
	long step;
	int64_t namespace_ns;
	int store, timer;
	int capturing, sound;
	FILE *log;
	int running, underrun_said;
	int64_t t0;
	int64_t first;  /* where this stream begins in the store, in frames */
	int64_t frames; /* handed over in this stream */
	snd_pcm_uframes_t avail_min;
} card_t;

static int64_t namespace_offset(void)
{
	char line[128];
	long long s, ns;
	int64_t offset = 0;
	FILE *f = fopen("/proc/self/timens_offsets", "r");

	if (!f)
		return 0;
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "monotonic %lld %lld", &s, &ns) == 2)
			offset = s * NS + ns;
	fclose(f);
	return offset;
}

static int64_t now(const card_t *c)
{
	struct timespec t;

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * NS + t.tv_nsec - c->namespace_ns;
}

static int64_t played(const card_t *c, int64_t t)
{
	int64_t n;

	if (!c->running || t < c->t0)
		return 0;
	n = (int64_t)floor((double)(t - c->t0) * 1e-9 * c->true_rate);
	return n - n % c->step;
}

static void say(card_t *c, const char *event, int64_t t)
{
	fprintf(c->log, "{\"event\":\"%s\",\"t\":%" PRId64 ",\"first\":%" PRId64 ",\"played\":%" PRId64 ",\"given\":%" PRId64
		"}\n", event, t, c->first, played(c, t), (int64_t)c->io.appl_ptr);
	fflush(c->log);
}

/* Set the poll timer to when there is room for avail_min frames, on a period's boundary as with real cards. */
static void arm(card_t *c)
{
	struct itimerspec at = {0};
	int64_t period = c->io.period_size ? (int64_t)c->io.period_size : 1, wait = 1;
	int64_t want = (int64_t)(c->io.appl_ptr + c->avail_min) - (c->capturing ? 0 : (int64_t)c->io.buffer_size);

	if (c->io.state == SND_PCM_STATE_DRAINING && !c->capturing)
		want = c->io.appl_ptr;
	else if (c->running && want > 0)
		want = (want + period - 1) / period * period;
	if (want > 0) {
		if (c->running) {
			wait = c->t0 + (int64_t)ceil((double)want * 1e9 / c->true_rate) + 1000 - now(c);
			wait = wait < 1 ? 1 : wait;
		} else {
			wait = 0; /* full and not started: never ready */
		}
	}
	at.it_value.tv_sec = wait / NS;
	at.it_value.tv_nsec = wait % NS;
	timerfd_settime(c->timer, 0, &at, NULL);
}

static int on_start(snd_pcm_ioplug_t *io)
{
	card_t *c = io->private_data;

	if (io->appl_ptr == 0 && !c->capturing)
		return -EPIPE; /* as the kernel: there is nothing to play */
	c->t0 = now(c);
	c->running = 1;
	c->underrun_said = 0;
	say(c, "start", c->t0);
	arm(c);
	return 0;
}

static int on_stop(snd_pcm_ioplug_t *io)
{
	card_t *c = io->private_data;

	if (c->running)
		say(c, "stop", now(c));
	c->running = 0;
	arm(c);
	return 0;
}

static snd_pcm_sframes_t on_pointer(snd_pcm_ioplug_t *io)
{
	card_t *c = io->private_data;
	int64_t t = now(c), n = played(c, t), given = io->appl_ptr;

	if (n <= given + (c->capturing ? (int64_t)io->buffer_size : 0))
		return n;
	if (io->state == SND_PCM_STATE_DRAINING)
		return given;
	if (!c->underrun_said)
		say(c, "underrun", t);
	c->underrun_said = 1;
	return -EPIPE;
}

static int on_delay(snd_pcm_ioplug_t *io, snd_pcm_sframes_t *delay)
{
	card_t *c = io->private_data;

	*delay = (snd_pcm_sframes_t)((int64_t)io->appl_ptr - played(c, now(c)));
	if (c->capturing)
		*delay = -*delay;
	return 0;
}

static int16_t sample(const card_t *c, const char *at)
{
	float x;
	int32_t wide;
	int16_t narrow;

	switch (c->io.format) {
	case SND_PCM_FORMAT_FLOAT_LE:
		memcpy(&x, at, sizeof x);
		return (int16_t)lrintf(fminf(fmaxf(x * 32768.0f, -32768.0f), 32767.0f));
	case SND_PCM_FORMAT_S32_LE:
		memcpy(&wide, at, sizeof wide);
		return (int16_t)(wide >> 16);
	default:
		memcpy(&narrow, at, sizeof narrow);
		return narrow;
	}
}

static void put_sample(const card_t *c, char *at, int16_t value)
{
	float x = value / 32768.0f;
	int32_t wide = value * 65536;

	switch (c->io.format) {
	case SND_PCM_FORMAT_FLOAT_LE:
		memcpy(at, &x, sizeof x);
		break;
	case SND_PCM_FORMAT_S32_LE:
		memcpy(at, &wide, sizeof wide);
		break;
	default:
		memcpy(at, &value, sizeof value);
	}
}

static snd_pcm_sframes_t on_capture(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas, snd_pcm_uframes_t offset,
				    snd_pcm_uframes_t size)
{
	card_t *c = io->private_data;
	snd_pcm_uframes_t done, k, n;
	unsigned channel;
	int16_t block[BLOCK];

	for (done = 0; done < size; done += n) {
		n = size - done < BLOCK ? size - done : BLOCK;
		memset(block, 0, sizeof block);
		if (pread(c->sound, block, n * sizeof *block, (off_t)((io->appl_ptr + done) * sizeof *block)) < 0)
			return -errno;
		for (channel = 0; channel < io->channels; channel++) {
			const snd_pcm_channel_area_t *area = &areas[channel];
			char *to = (char *)area->addr + (area->first + area->step * (offset + done)) / 8;

			for (k = 0; k < n; k++)
				put_sample(c, to + k * area->step / 8, block[k]);
		}
	}
	return size;
}

static snd_pcm_sframes_t on_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas, snd_pcm_uframes_t offset,
				     snd_pcm_uframes_t size)
{
	card_t *c = io->private_data;
	const char *from = (const char *)areas->addr + (areas->first + areas->step * offset) / 8;
	int64_t place = c->first + (int64_t)io->appl_ptr;
	snd_pcm_uframes_t done, k, n;
	int16_t block[BLOCK];

	if (c->capturing)
		return on_capture(io, areas, offset, size);
	for (done = 0; done < size; done += n) {
		n = size - done < BLOCK ? size - done : BLOCK;
		for (k = 0; k < n; k++)
			block[k] = sample(c, from + (done + k) * areas->step / 8);
		if (pwrite(c->store, block, n * sizeof *block, (place + (int64_t)done) * (int64_t)sizeof *block) < 0)
			return -errno;
	}
	if ((int64_t)(io->appl_ptr + size) > c->frames)
		c->frames = io->appl_ptr + size;
	return size;
}

static int on_hw_params(snd_pcm_ioplug_t *io, snd_pcm_hw_params_t *params)
{
	card_t *c = io->private_data;

	(void)params;
	c->true_rate = io->rate * (1.0 + c->ppm * 1e-6);
	c->avail_min = io->period_size;
	fprintf(c->log, "{\"event\":\"params\",\"t\":%" PRId64 ",\"rate\":%u,\"true_rate\":%.9f,\"channels\":%u,\"format\":\"%s\""
		",\"period\":%lu,\"buffer\":%lu}\n", now(c), io->rate, c->true_rate, io->channels,
		snd_pcm_format_name(io->format), (unsigned long)io->period_size, (unsigned long)io->buffer_size);
	fflush(c->log);
	return 0;
}

static int on_sw_params(snd_pcm_ioplug_t *io, snd_pcm_sw_params_t *params)
{
	card_t *c = io->private_data;

	snd_pcm_sw_params_get_avail_min(params, &c->avail_min);
	arm(c);
	return 0;
}

static int on_prepare(snd_pcm_ioplug_t *io)
{
	card_t *c = io->private_data;

	c->running = 0;
	c->first += c->frames;
	c->frames = 0;
	arm(c);
	return 0;
}

static int on_poll(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned int count, unsigned short *events)
{
	card_t *c = io->private_data;
	int64_t n = played(c, now(c)), given = io->appl_ptr;
	int ready;

	(void)fds;
	(void)count;
	if (io->state == SND_PCM_STATE_DRAINING)
		ready = n >= given;
	else if (c->capturing)
		ready = n - given >= (int64_t)c->avail_min;
	else /* after an underrun too: the program's next call finds -EPIPE */
		ready = n + (int64_t)io->buffer_size - given >= (int64_t)c->avail_min;
	*events = !ready ? 0 : c->capturing ? POLLIN : POLLOUT;
	arm(c);
	return 0;
}

static int on_close(snd_pcm_ioplug_t *io)
{
	card_t *c = io->private_data;

	say(c, "close", now(c));
	fclose(c->log);
	close(c->store);
	if (c->capturing)
		close(c->sound);
	close(c->timer);
	free(c);
	return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
	.start = on_start,
	.stop = on_stop,
	.pointer = on_pointer,
	.delay = on_delay,
	.transfer = on_transfer,
	.hw_params = on_hw_params,
	.sw_params = on_sw_params,
	.prepare = on_prepare,
	.poll_revents = on_poll,
	.close = on_close,
};

static int constrain(snd_pcm_ioplug_t *io)
{
	static const unsigned access[] = {SND_PCM_ACCESS_RW_INTERLEAVED, SND_PCM_ACCESS_MMAP_INTERLEAVED};
	static const unsigned formats[] = {SND_PCM_FORMAT_S16_LE, SND_PCM_FORMAT_S32_LE, SND_PCM_FORMAT_FLOAT_LE};
	static const unsigned rates[] = {44100, 48000, 96000};
	int error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 2, access);

	error = error < 0 ? error : snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, 3, formats);
	error = error < 0 ? error : snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_RATE, 3, rates);
	error = error < 0 ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, 1, 8);
	error = error < 0 ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, 128, 1 << 19);
	error = error < 0 ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_BUFFER_BYTES, 256, 1 << 20);
	error = error < 0 ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, 1024);
	return error;
}

/* Read the fields of the card's entry in asound.conf. */
static int read_fields(snd_config_t *conf, card_t *c, const char **out, const char **in)
{
	snd_config_iterator_t i, next;

	snd_config_for_each(i, next, conf) {
		snd_config_t *field = snd_config_iterator_entry(i);
		const char *id;

		if (snd_config_get_id(field, &id) < 0 || !strcmp(id, "comment") || !strcmp(id, "type") || !strcmp(id, "hint"))
			continue;
		if (!strcmp(id, "out"))
			snd_config_get_string(field, out);
		else if (!strcmp(id, "in"))
			snd_config_get_string(field, in);
		else if (!strcmp(id, "ppm"))
			snd_config_get_ireal(field, &c->ppm);
		else if (!strcmp(id, "step"))
			snd_config_get_integer(field, &c->step);
		else
			return -EINVAL;
	}
	return *out && c->step >= 1 ? 0 : -EINVAL;
}

SND_PCM_PLUGIN_DEFINE_FUNC(lab)
{
	const char *out = NULL, *in = NULL;
	char path[4096];
	card_t *c;
	int error;

	c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	c->step = 1;
	c->avail_min = 1;
	if ((error = read_fields(conf, c, &out, &in)) < 0) {
		SNDERR("lab card: it needs out, and may have ppm, step and in");
		free(c);
		return error;
	}
	c->capturing = stream == SND_PCM_STREAM_CAPTURE;
	if (c->capturing && !in) {
		free(c);
		return -EINVAL;
	}
	c->sound = c->capturing ? open(in, O_RDONLY | O_CLOEXEC) : -1;
	c->namespace_ns = namespace_offset();
	snprintf(path, sizeof path, "%s%s", out, c->capturing ? ".capture.s16" : ".s16");
	c->store = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	snprintf(path, sizeof path, "%s%s", out, c->capturing ? ".capture.jsonl" : ".jsonl");
	c->log = fopen(path, "ae");
	c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (c->store < 0 || (c->capturing && c->sound < 0) || !c->log || c->timer < 0)
		return -errno; /* the process ends: nothing to tidy */
	c->first = lseek(c->store, 0, SEEK_END) / (off_t)sizeof(int16_t); /* what opens the card again appends */
	fprintf(c->log, "{\"event\":\"open\",\"t\":%" PRId64 ",\"first\":%" PRId64 ",\"ppm\":%.6f}\n", now(c), c->first, c->ppm);
	fflush(c->log);

	c->io.version = SND_PCM_IOPLUG_VERSION;
	c->io.name = "virtual card of the lab";
	c->io.callback = &callbacks;
	c->io.private_data = c;
	c->io.poll_fd = c->timer;
	c->io.poll_events = POLLIN;
	c->io.flags = SND_PCM_IOPLUG_FLAG_BOUNDARY_WA;
	if ((error = snd_pcm_ioplug_create(&c->io, name, stream, mode)) < 0)
		return error;
	if ((error = constrain(&c->io)) < 0) {
		snd_pcm_ioplug_delete(&c->io);
		return error;
	}
	*pcmp = c->io.pcm;
	return 0;
}
SND_PCM_PLUGIN_SYMBOL(lab);
