/* delay: a TCP relay that holds bytes back, so that loopback has the round trip of a distance.
 *
 *   cc -O2 -o delay delay.c
 *   delay -t PORT -d MS        relays connections to 127.0.0.1:PORT; a round trip takes MS (half of it each way)
 *
 * "port N" on stdout says where it listens (127.0.0.1 only). A new connection is answered a round trip late, as a TCP
 * handshake would be. Bytes keep their order and their gaps. Each direction of a connection holds at most WINDOW bytes,
 * then its sender has to wait: that is WINDOW / (MS / 2) bytes a second. It imitates neither slow start nor loss.
 * One thread, level-triggered epoll. Nothing is looked at, so HTTPS passes as it is. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (64 << 10)
#define WINDOW (4 << 20)
typedef uint64_t u64;

typedef struct Pair Pair;
typedef struct Side Side;
typedef struct Chunk { struct Chunk *next, *later; Side *to; u64 due; size_t n, at; char bytes[]; } Chunk;
struct Side { int fd, reading, writing, ended; Pair *pair; Side *other; Chunk *first, **last; size_t held; };
struct Pair { Side side[2]; int pending, dead; };
typedef struct Opening { struct Opening *next; int fd; u64 due; } Opening;

static int poll_fd, target;
static u64 way;                                          /* microseconds of one way */
static Chunk *waiting, **waiting_last = &waiting;        /* all waits are equal, so it is in order */
static Opening *opening, **opening_last = &opening;

static u64 now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000ull + t.tv_nsec / 1000; }
static void watch(Side *s) {
  int reading = !s->ended && s->other->held < WINDOW, writing = s->first != NULL;
  if (reading == s->reading && writing == s->writing) return;
  s->reading = reading; s->writing = writing;
  struct epoll_event e = {.events = (reading ? EPOLLIN : 0) | (writing ? EPOLLOUT : 0), .data.ptr = s};
  epoll_ctl(poll_fd, EPOLL_CTL_MOD, s->fd, &e);
}
static void drop(Pair *p) {                              /* the pair itself stays: a chunk or an event may point to it */
  for (int i = 0; i < 2; i++) {
    for (Chunk *c = p->side[i].first, *next; c; c = next) next = c->next, free(c);
    close(p->side[i].fd);
  }
  p->dead = 1;
}
static void take(Side *from) {                           /* read, and hold back; n 0 is the end */
  Side *to = from->other;
  Chunk *c = malloc(sizeof *c + CHUNK);
  ssize_t n = read(from->fd, c->bytes, CHUNK);
  if (n < 0) { free(c); if (errno != EAGAIN && errno != EINTR) drop(from->pair); return; }
  c = realloc(c, sizeof *c + n);
  *c = (Chunk){.to = to, .due = now() + way, .n = n};
  if (n == 0) from->ended = 1;
  to->held += n; from->pair->pending++;
  *waiting_last = c; waiting_last = &c->later;
  watch(from);
}
static void give(Side *s) {                              /* write what is due */
  while (s->first) {
    Chunk *c = s->first;
    if (!c->n) shutdown(s->fd, SHUT_WR);
    else {
      ssize_t n = send(s->fd, c->bytes + c->at, c->n - c->at, MSG_NOSIGNAL);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
      if (n < 0) { drop(s->pair); return; }
      c->at += n; s->held -= n;
      if (c->at < c->n) break;
    }
    if (!(s->first = c->next)) s->last = &s->first;
    int over = !c->n && s->ended;                        /* both directions have ended */
    free(c);
    if (over && !s->other->first && !s->pair->pending) { drop(s->pair); return; }
  }
  watch(s); watch(s->other);
}
static void start(int fd) {                              /* the handshake is over: connect, and begin to read */
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(target), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int yes = 1, to = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(to, (void *)&at, sizeof at)) { close(fd); close(to); return; }
  fcntl(to, F_SETFL, O_NONBLOCK);
  Pair *p = calloc(1, sizeof *p);
  for (int i = 0; i < 2; i++) {
    Side *s = &p->side[i];
    *s = (Side){.fd = i ? to : fd, .pair = p, .other = &p->side[!i], .reading = 1, .last = &s->first};
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, s->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = s});
  }
}
static void due(void) {                                  /* what has waited long enough goes on */
  for (u64 t = now(); opening && opening->due <= t;) {
    Opening *o = opening;
    if (!(opening = o->next)) opening_last = &opening;
    start(o->fd); free(o);
  }
  for (u64 t = now(); waiting && waiting->due <= t;) {
    Chunk *c = waiting;
    Side *s = c->to;
    if (!(waiting = c->later)) waiting_last = &waiting;
    s->pair->pending--;
    if (s->pair->dead) { free(c); continue; }
    c->next = NULL; *s->last = c; s->last = &c->next;
    give(s);
  }
}
static int timeout(void) {
  u64 t = now(), at = UINT64_MAX;
  if (waiting) at = waiting->due;
  if (opening && opening->due < at) at = opening->due;
  return at == UINT64_MAX ? -1 : at <= t ? 0 : (int)((at - t + 999) / 1000);
}
int main(int argc, char **argv) {
  for (int opt; (opt = getopt(argc, argv, "t:d:")) != -1;) {
    if (opt == 't') target = atoi(optarg);
    else if (opt == 'd') way = atof(optarg) * 500;
    else return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever started it is gone */
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof at;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096)) { perror("delay"); return 1; }
  getsockname(listener, (void *)&at, &n);
  poll_fd = epoll_create1(0);
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN});
  printf("port %d\n", ntohs(at.sin_port));
  fflush(stdout);
  for (struct epoll_event e[256];;) {
    int count = epoll_wait(poll_fd, e, 256, timeout());
    for (int i = 0; i < count; i++) {
      Side *s = e[i].data.ptr;
      if (!s) {
        for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
          Opening *o = malloc(sizeof *o);
          *o = (Opening){.fd = fd, .due = now() + 2 * way};
          *opening_last = o; opening_last = &o->next;
        }
        continue;
      }
      if (s->pair->dead) continue;
      if (e[i].events & EPOLLIN) take(s);
      else if (e[i].events & (EPOLLERR | EPOLLHUP)) drop(s->pair);
      if (!s->pair->dead && e[i].events & EPOLLOUT) give(s);
    }
    due();
  }
}
