/*
 * The load client: many streams over loopback, read as fast as one thread can.
 *
 * Usage: client PORT REQUESTS CONNECTIONS [--ramp N] [--expect N] [--seconds S]
 *
 * REQUESTS is a file of whole HTTP/1.1 requests, each ended by a NUL byte; connection i sends request
 * i modulo their number. An entry is known by a mark in its data: `@`, nineteen digits, `;`. The digits
 * are the CLOCK_MONOTONIC time in ns at which it was made, and rise within a stream, so that what is
 * said again (a summary at the end) is not counted twice. Everything else is skipped.
 *
 * On stdout: `ready` once every connection has its response's head or has failed, `begun` when the
 * window has, and in the end one line of JSON. On stdin: `b` begins the measured window (what arrives
 * from then on is counted, whenever it was made: a server that is behind shows it), `e` or the end of
 * the input ends it. It also ends when every connection has
 * ended or has had --expect entries, and after --seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DIGITS 19
#define HEAD_BYTES 4096
#define READ_BYTES (256 * 1024)
#define SUB_BITS 6 /* buckets of 1/64 of their value: figures are exact to 1.6 % */
#define BUCKETS ((64 - SUB_BITS + 1) << SUB_BITS)

enum state { UNUSED, CONNECTING, HEAD, BODY, OVER };
enum body { TO_CLOSE, LENGTH, CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_END, TRAILER };

struct histogram {
  uint64_t count[BUCKETS], total, max;
  double sum;
};

struct connection {
  int fd;
  enum state state;
  enum body body;
  int status;
  size_t sent, head_used;
  uint64_t left;           /* bytes of the chunk or of the body */
  bool sized, line;        /* a digit of the chunk's size was seen; the trailer's line has a byte */
  int digits;              /* of the mark that is being read: -1 outside of one */
  uint64_t mark, newest;   /* the mark so far; the newest one counted */
  uint64_t begun, first;   /* when the connection was begun; its first entry */
  int heard;               /* whether it was sent any event yet, a mark in it or not */
  uint64_t entries, window; /* counted in all; in the measured window */
  char head[HEAD_BYTES];
};

static struct connection *connections;
static char **requests;
static size_t *request_sizes, request_count, connection_count, ramp = 256, next_connection;
static size_t pending, answered, failed, over, refused, cut, whole;
static uint64_t expect, last_entry, bytes, repeated;
static double seconds = 3600;
static struct histogram latency, first_event, first_entry, ended;
static int poller, port;
static char buffer[READ_BYTES];

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
  perror(what);
  exit(2);
}

static void *must(void *memory) {
  if (!memory) die("memory");
  return memory;
}

static size_t bucket(uint64_t value) {
  if (value < (1u << SUB_BITS)) return value;
  int exponent = 63 - __builtin_clzll(value);
  size_t sub = (value >> (exponent - SUB_BITS)) & ((1u << SUB_BITS) - 1);
  return ((size_t)(exponent - SUB_BITS + 1) << SUB_BITS) + sub;
}

static uint64_t middle(size_t index) {
  if (index < (1u << SUB_BITS)) return index;
  int shift = (int)(index >> SUB_BITS) - 1;
  uint64_t low = ((1ull << SUB_BITS) + (index & ((1u << SUB_BITS) - 1))) << shift;
  return low + ((1ull << shift) >> 1);
}

static void note(struct histogram *h, uint64_t value) {
  h->count[bucket(value)]++;
  h->total++;
  h->sum += (double)value;
  if (value > h->max) h->max = value;
}

/* Nearest rank: the value that this share of all does not exceed. */
static uint64_t percentile(const struct histogram *h, double share) {
  uint64_t rank = (uint64_t)(share * (double)h->total + 0.999999), seen = 0;
  for (size_t i = 0; i < BUCKETS; i++) {
    seen += h->count[i];
    if (seen >= rank && seen) return middle(i) < h->max ? middle(i) : h->max;
  }
  return 0;
}

static void say(const char *name, const struct histogram *h) {
  printf("\"%s\":{\"count\":%llu,\"mean_ms\":%.4f,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"p999_ms\":%.4f,"
         "\"max_ms\":%.4f},",
         name, (unsigned long long)h->total, h->total ? h->sum / (double)h->total / 1e6 : 0,
         (double)percentile(h, .5) / 1e6, (double)percentile(h, .99) / 1e6,
         (double)percentile(h, .999) / 1e6, (double)h->max / 1e6);
}

static void watch(struct connection *c, uint32_t events, int how) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  if (epoll_ctl(poller, how, c->fd, &event)) die("epoll_ctl");
}

static void leave(struct connection *c, size_t *why) {
  if (c->state == CONNECTING || c->state == HEAD) {
    pending--;
    failed++;
  }
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
  c->state = OVER;
  over++;
  if (why) (*why)++;
  note(&ended, now() - c->begun);
}

static void open_one(struct connection *c) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  c->begun = now();
  c->digits = -1;
  c->state = CONNECTING;
  pending++;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) die("socket");
  if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
    leave(c, &refused);
  else
    watch(c, EPOLLOUT | EPOLLIN, EPOLL_CTL_ADD);
}

static void send_request(struct connection *c) {
  size_t i = (size_t)(c - connections) % request_count;
  while (c->sent < request_sizes[i]) {
    ssize_t n = send(c->fd, requests[i] + c->sent, request_sizes[i] - c->sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
    if (n < 0) {
      leave(c, &refused);
      return;
    }
    c->sent += (size_t)n;
  }
  c->state = HEAD;
  watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

static void entry(struct connection *c, uint64_t at) {
  if (c->mark <= c->newest) {
    repeated++;
    return;
  }
  c->newest = c->mark;
  c->entries++;
  if (!c->first) {
    c->first = at;
    note(&first_entry, at - c->begun);
  }
  c->window++;
  last_entry = at;
  note(&latency, at > c->mark ? at - c->mark : 0);
}

/* A mark may be cut anywhere; c->digits says how much of it was seen. */
static void scan(struct connection *c, const char *p, size_t size, uint64_t at) {
  const char *end = p + size;
  if (!c->heard && memmem(p, size, "data:", 5)) {
    c->heard = 1;
    note(&first_event, at - c->begun);
  }
  while (p < end) {
    if (c->digits < 0) {
      p = memchr(p, '@', (size_t)(end - p));
      if (!p) return;
      p++;
      c->digits = 0;
      c->mark = 0;
    } else if (c->digits < DIGITS && *p >= '0' && *p <= '9') {
      c->mark = c->mark * 10 + (uint64_t)(*p++ - '0');
      c->digits++;
    } else {
      if (c->digits == DIGITS && *p == ';') entry(c, at);
      c->digits = -1; /* this byte may begin a mark itself */
    }
  }
}

static int hex(char byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  byte = (char)(byte | 0x20);
  return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* One byte between the chunks. False at the body's end. */
static bool between(struct connection *c, char byte) {
  if (c->body == CHUNK_SIZE && hex(byte) >= 0) {
    c->left = c->left * 16 + (uint64_t)hex(byte);
    c->sized = true;
  } else if (c->body == CHUNK_SIZE || c->body == CHUNK_EXTENSION) {
    c->body = CHUNK_EXTENSION;
    if (byte == '\n') c->body = c->left ? CHUNK_DATA : TRAILER;
  } else if (c->body == CHUNK_END) {
    if (byte == '\n') c->body = CHUNK_SIZE;
    c->left = 0;
  } else if (byte == '\n') {
    if (!c->line) return false;
    c->line = false;
  } else if (byte != '\r') {
    c->line = true;
  }
  return true;
}

/* False at the body's end. */
static bool body(struct connection *c, const char *p, size_t size, uint64_t at) {
  while (size) {
    if (c->body == TO_CLOSE) {
      scan(c, p, size, at);
      return true;
    }
    if (c->body == LENGTH || c->body == CHUNK_DATA) {
      size_t part = size < c->left ? size : (size_t)c->left;
      scan(c, p, part, at);
      p += part, size -= part, c->left -= part;
      if (!c->left && c->body == LENGTH) return false;
      if (!c->left) c->body = CHUNK_END;
    } else {
      if (!between(c, *p)) return false;
      p++, size--;
    }
  }
  return true;
}

static bool understand_head(struct connection *c) {
  char *length = strcasestr(c->head, "\ncontent-length:");
  if (sscanf(c->head, "HTTP/1.%*d %d", &c->status) != 1) return false;
  if (strcasestr(c->head, "\ntransfer-encoding: chunked")) {
    c->body = CHUNK_SIZE;
  } else if (length) {
    c->body = LENGTH;
    c->left = strtoull(length + 16, NULL, 10);
  }
  c->state = BODY;
  pending--;
  answered++;
  return c->status == 200;
}

/* The rest of what was read, after the head; NULL while the head is not whole. */
static const char *head(struct connection *c, const char *p, size_t *size) {
  size_t before = c->head_used, room = HEAD_BYTES - 1 - before, part = *size < room ? *size : room;
  memcpy(c->head + before, p, part);
  c->head_used += part;
  c->head[c->head_used] = 0;
  char *stop = strstr(c->head, "\r\n\r\n");
  if (!stop) {
    if (c->head_used == HEAD_BYTES - 1) leave(c, &refused);
    return NULL;
  }
  size_t used = (size_t)(stop + 4 - c->head) - before;
  stop[2] = 0;
  *size -= used;
  return p + used;
}

static void readable(struct connection *c) {
  ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    leave(c, c->state != BODY ? &refused : c->body == TO_CLOSE && !got ? &whole : &cut);
    return;
  }
  uint64_t at = now();
  size_t size = (size_t)got;
  const char *p = buffer;
  bytes += size;
  if (c->state == HEAD) {
    p = head(c, p, &size);
    if (!p) return;
    if (!understand_head(c)) {
      leave(c, &refused);
      return;
    }
    if (c->body == LENGTH && !c->left) {
      leave(c, &whole);
      return;
    }
  }
  if (!body(c, p, size, at) || (expect && c->entries >= expect)) leave(c, &whole);
}

static void read_requests(const char *path) {
  FILE *file = fopen(path, "rb");
  char *text = NULL;
  size_t room = 0;
  ssize_t size;
  if (!file) die(path);
  while ((size = getdelim(&text, &room, 0, file)) > 0) {
    requests = must(realloc(requests, (request_count + 1) * sizeof *requests));
    request_sizes = must(realloc(request_sizes, (request_count + 1) * sizeof *request_sizes));
    request_sizes[request_count] = text[size - 1] ? (size_t)size : (size_t)size - 1;
    requests[request_count++] = text;
    text = NULL;
  }
  fclose(file);
  if (!request_count) die("no requests");
}

static double cpu(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void report(uint64_t start, double cpu_start) {
  uint64_t stop = now(), least = UINT64_MAX, most = 0, delivered = 0;
  for (size_t i = 0; i < connection_count; i++) {
    uint64_t n = connections[i].window;
    delivered += n;
    if (n < least) least = n;
    if (n > most) most = n;
  }
  double window = (double)(stop - start) / 1e9;
  printf("{\"connections\":%zu,\"answered\":%zu,\"refused\":%zu,\"failed\":%zu,\"cut\":%zu,\"whole\":%zu,",
         connection_count, answered, refused, failed, cut, whole);
  printf("\"delivered\":%llu,\"least\":%llu,\"most\":%llu,\"repeated\":%llu,\"bytes\":%llu,",
         (unsigned long long)delivered, (unsigned long long)least, (unsigned long long)most,
         (unsigned long long)repeated, (unsigned long long)bytes);
  say("latency", &latency);
  say("heard", &first_event);
  say("first", &first_entry);
  say("ended", &ended);
  printf("\"seconds\":%.6f,\"until_last\":%.6f,\"cpu_seconds\":%.6f,\"cpu_share\":%.4f}\n", window,
         last_entry > start ? (double)(last_entry - start) / 1e9 : 0, cpu() - cpu_start,
         window > 0 ? (cpu() - cpu_start) / window : 0);
}

static void begin(void) {
  bytes = repeated = last_entry = 0;
  memset(&latency, 0, sizeof latency);
  for (size_t i = 0; i < connection_count; i++) connections[i].window = 0;
}

static void options(int count, char **values) {
  for (int i = 4; i + 1 < count; i += 2) {
    if (!strcmp(values[i], "--ramp")) ramp = strtoull(values[i + 1], NULL, 10);
    else if (!strcmp(values[i], "--expect")) expect = strtoull(values[i + 1], NULL, 10);
    else if (!strcmp(values[i], "--seconds")) seconds = atof(values[i + 1]);
    else {
      fprintf(stderr, "unknown option %s\n", values[i]);
      exit(2);
    }
  }
}

int main(int count, char **values) {
  if (count < 4) {
    fprintf(stderr, "usage: client PORT REQUESTS CONNECTIONS [--ramp N] [--expect N] [--seconds S]\n");
    return 2;
  }
  port = atoi(values[1]);
  read_requests(values[2]);
  connection_count = strtoull(values[3], NULL, 10);
  options(count, values);
  connections = must(calloc(connection_count, sizeof *connections));
  if ((poller = epoll_create1(0)) < 0) die("epoll_create1");
  struct epoll_event events[512], control = {.events = EPOLLIN, .data.ptr = NULL};
  bool controlled = !epoll_ctl(poller, EPOLL_CTL_ADD, 0, &control), told = false;
  uint64_t start = now(), deadline = start + (uint64_t)(seconds * 1e9);
  double cpu_start = cpu();
  for (;;) {
    while (next_connection < connection_count && (!ramp || pending < ramp))
      open_one(&connections[next_connection++]);
    if (!told && answered + failed >= connection_count) {
      told = true;
      puts("ready");
      fflush(stdout);
    }
    uint64_t at = now();
    if (over == connection_count || at >= deadline) break;
    uint64_t wait = (deadline - at) / 1000000 + 1;
    int n = epoll_wait(poller, events, 512, wait > 1000 ? 1000 : (int)wait);
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      if (!c) {
        char order = 'e';
        if (controlled && read(0, &order, 1) > 0 && order == 'b') {
          begin();
          puts("begun");
          fflush(stdout);
          start = now();
          cpu_start = cpu();
        } else if (order == 'e') {
          report(start, cpu_start);
          return 0;
        }
      } else if (c->state == CONNECTING && (events[i].events & (EPOLLERR | EPOLLHUP))) {
        leave(c, &refused);
      } else if (c->state == CONNECTING) {
        send_request(c);
      } else if (c->state != OVER) {
        readable(c);
      }
    }
  }
  report(start, cpu_start);
  return 0;
}
