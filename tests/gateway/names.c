/* Preloaded into the gateway: the host connector.test has the address that the file says which NAMES_FILE names; names.rs writes it. All
 * other names are left to the system. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*resolver)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    resolver system = (resolver)dlsym(RTLD_NEXT, "getaddrinfo");
    char address[64] = "";
    if (node && strcmp(node, "connector.test") == 0) {
        const char *path = getenv("NAMES_FILE");
        FILE *file = path ? fopen(path, "re") : NULL;
        if (!file || !fgets(address, sizeof address, file)) {
            address[0] = 0;
        }
        if (file) {
            fclose(file);
        }
        if (!address[0]) {
            return EAI_NONAME;
        }
        node = address;
    }
    return system(node, service, hints, found);
}
