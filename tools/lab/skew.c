/*
 * skew: a preloaded library that makes a program's clocks run LAB_SKEW_PPM parts per million fast, as those of another
 * computer would.
 *
 * Every reading of CLOCK_REALTIME, _MONOTONIC and _MONOTONIC_RAW gets ppm * (raw time since the program started) more; its
 * children count from the same instant.  The kernel's stamps on received datagrams get the same: an unskewed stamp beside a
 * skewed clock would be an error that no real computer has.  Sleeps until an instant end when the skewed clock says so;
 * locks that wait until an instant do not, and after T seconds wait ppm * T microseconds too long.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL
#define STAMP_NS 35  /* SCM_TIMESTAMPNS */
#define STAMPING 37  /* SCM_TIMESTAMPING: three of them */

static double skew;
static int64_t since;
static int (*real_nanosleep)(clockid_t, int, const struct timespec *, struct timespec *);
static ssize_t (*real_recvmsg)(int, struct msghdr *, int);
static int (*real_recvmmsg)(int, struct mmsghdr *, unsigned, int, struct timespec *);

static int64_t unskewed(clockid_t id)
{
	struct timespec t;

	syscall(SYS_clock_gettime, id, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

__attribute__((constructor)) static void init(void)
{
	const char *ppm = getenv("LAB_SKEW_PPM"), *from = getenv("LAB_SKEW_SINCE");
	char text[32];

	skew = ppm ? atof(ppm) * 1e-6 : 0.0;
	since = from ? atoll(from) : unskewed(CLOCK_MONOTONIC_RAW);
	snprintf(text, sizeof text, "%lld", (long long)since);
	setenv("LAB_SKEW_SINCE", text, 1);
	real_nanosleep = (int (*)(clockid_t, int, const struct timespec *, struct timespec *))dlsym(RTLD_NEXT, "clock_nanosleep");
	real_recvmsg = (ssize_t (*)(int, struct msghdr *, int))dlsym(RTLD_NEXT, "recvmsg");
	real_recvmmsg = (int (*)(int, struct mmsghdr *, unsigned, int, struct timespec *))dlsym(RTLD_NEXT, "recvmmsg");
}

static int64_t gained(void) { return (int64_t)((double)(unskewed(CLOCK_MONOTONIC_RAW) - since) * skew); }

static void advance(struct timespec *t, int64_t ns)
{
	int64_t sum = t->tv_sec * NS + t->tv_nsec + ns;

	t->tv_sec = sum / NS;
	t->tv_nsec = sum % NS;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	int result = (int)syscall(SYS_clock_gettime, id, t);

	if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_RAW))
		advance(t, gained());
	return result;
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *wait, struct timespec *left)
{
	struct timespec until = *wait;

	if (flags & TIMER_ABSTIME)
		advance(&until, -gained());
	return real_nanosleep(id, flags, &until, left);
}

int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec t;

	(void)tz;
	clock_gettime(CLOCK_REALTIME, &t);
	tv->tv_sec = t.tv_sec;
	tv->tv_usec = t.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *at)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	if (at)
		*at = t.tv_sec;
	return t.tv_sec;
}

static void advance_stamps(struct msghdr *message)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		struct timespec t[3];
		size_t k, count = c->cmsg_type == STAMP_NS ? 1 : c->cmsg_type == STAMPING ? 3 : 0;

		if (c->cmsg_level != SOL_SOCKET || count == 0 || c->cmsg_len < CMSG_LEN(count * sizeof *t))
			continue;
		memcpy(t, CMSG_DATA(c), count * sizeof *t);
		for (k = 0; k < count; k++) {
			/* as much as the clocks had gained when the stamp was taken */
			int64_t age = unskewed(CLOCK_REALTIME) - (t[k].tv_sec * NS + t[k].tv_nsec);

			if (t[k].tv_sec != 0)
				advance(&t[k], gained() - (int64_t)((double)age * skew));
		}
		memcpy(CMSG_DATA(c), t, count * sizeof *t);
	}
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t size = real_recvmsg(fd, message, flags);

	if (size >= 0)
		advance_stamps(message);
	return size;
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
	int k, got = real_recvmmsg(fd, messages, count, flags, timeout);

	for (k = 0; k < got; k++)
		advance_stamps(&messages[k].msg_hdr);
	return got;
}
