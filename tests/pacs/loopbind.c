/* Keeps a server under test on this machine, by LD_PRELOAD.

     gcc -shared -fPIC -O2 -o loopbind.so loopbind.c -ldl
     LD_PRELOAD=./loopbind.so Orthanc orthanc.json

   Two properties of Debian's Orthanc 1.10.1 are mended without touching it:

   1. It has no option for the address to listen at and binds every interface, so that a test
      would open a PACS to the network. bind() to "any" becomes bind() to loopback.
   2. Its HTTP workers have stacks of about 100 KiB, and one frame of libgdcm wants 132 KiB: with
      the plug-in orthanc-gdcm the first JPEG 2000 image that is decoded for a request ends the
      server with SIGSEGV. pthread_attr_setstacksize() gives 8 MiB at least. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

static const size_t MIN_STACK = 8u << 20;

int bind(int fd, const struct sockaddr *address, socklen_t length) {
  static int (*real)(int, const struct sockaddr *, socklen_t);
  if (!real) real = dlsym(RTLD_NEXT, "bind");
  if (address && address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
    struct sockaddr_in here;
    memcpy(&here, address, sizeof here);
    if (here.sin_addr.s_addr == htonl(INADDR_ANY)) here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return real(fd, (struct sockaddr *)&here, sizeof here);
  }
  if (address && address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
    struct sockaddr_in6 here;
    memcpy(&here, address, sizeof here);
    if (!memcmp(&here.sin6_addr, &in6addr_any, sizeof in6addr_any)) here.sin6_addr = in6addr_loopback;
    return real(fd, (struct sockaddr *)&here, sizeof here);
  }
  return real(fd, address, length);
}

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t size) {
  static int (*real)(pthread_attr_t *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "pthread_attr_setstacksize");
  return real(attributes, size < MIN_STACK ? MIN_STACK : size);
}
