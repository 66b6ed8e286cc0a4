/*
 * kernels_peer.c - PyTorch beside our kernels: another process, kernels_torch.py, which is asked and measures itself.
 */
#include "kernels.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

Torch torch_start(const Setup *u) {
    Torch t = {0};
    int pair[2];
    if (!u->torch) return t;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) fail("no socket for PyTorch");
    char threads[16];
    snprintf(threads, sizeof threads, "%d", u->threads);
    fflush(stdout);
    t.pid = fork();
    if (t.pid == 0) {
        dup2(pair[1], 0);
        dup2(pair[1], 1);
        close(pair[0]);
        execlp(u->torch, u->torch, NNC_SOURCE_ROOT "/tests/bench/kernels_torch.py", threads, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    t.to = fdopen(pair[0], "w");
    t.from = fdopen(dup(pair[0]), "r");
    char line[256];
    if (t.pid < 0 || !t.to || !t.from || !fgets(line, sizeof line, t.from) || strncmp(line, "ready", 5) != 0)
        fail("--torch=%s: no PyTorch there", u->torch);
    return t;
}

void torch_end(Torch *t) {
    if (!t->to) return;
    fclose(t->to);
    fclose(t->from);
    waitpid(t->pid, NULL, 0);
}

double torch_ask(void *question) {
    const Question *q = question;
    const Torch *t = q->torch;
    char line[256];
    double seconds = 0;
    fprintf(t->to, "%s\n", q->line);
    fflush(t->to);
    if (!fgets(line, sizeof line, t->from) || sscanf(line, "%lf", &seconds) != 1 || !(seconds > 0))
        fail("PyTorch gave no answer");
    return seconds;
}
