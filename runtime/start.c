/*
 * start.c - nn_main: signals, messages, exit status.
 */
#include "cpu.h"
#include "run.h"
#include "runtime.h"
#include "settings.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* The one variable of the runtime that is no one's: a signal handler is told nothing else. */
static volatile int stop_signal;

static void on_signal(int number) {
    static const char told[] = "stopped by a signal\n";
    if (stop_signal != NN_NOT_BEGUN) {
        stop_signal = number;
        return;
    }
    if (write(STDERR_FILENO, told, sizeof told - 1) < 0) {} /* nobody listens: the status tells */
    _exit(128 + number);
}

/* While data are read, which may take long or, of a pipe, for ever, SIGINT and SIGTERM end the process. From then on the first one asks the run to stop after its step, and the
 * second ends the process. A pipe that nobody reads any more and a file that may not grow are failures of the write: a run is not killed by them, with a file half written. */
static void catch_signals(void) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    static const int numbers[] = {SIGINT, SIGTERM};
    stop_signal = NN_NOT_BEGUN;
    for (int i = 0; i < 2; i++) {
        struct sigaction before;
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(numbers[i], &action, NULL);
    }
}

/* Where standard output or error is closed, the next file that is opened, the log say, would have its number, and what is printed would go into it. So its place is taken by
 * what can be neither written nor, under its name in /dev, opened for that: the root folder. */
static void hold_places(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/", O_RDONLY | O_DIRECTORY) < 0) return;
    }
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int nn_main_with(const struct nn_system *sys, const struct nn_program *program, int argc, char **argv) {
    struct nn_env env = {.sys = sys};
    struct nn_settings settings = {0};
    enum nn_ask ask = NN_ASK_NOTHING;
    const char *name = argc > 0 && argv[0] ? base_name(argv[0]) : "model";
    if (program->abi != NN_ABI) {
        nn_print(&env, NN_ERR, "%s: internal error: the program and its runtime are of different versions\n", name);
        return NN_INTERNAL;
    }
    bool good = nn_settings_read(&env, program, argc, argv, &settings, &ask);
    if (good && ask == NN_ASK_COMMAND) good = nn_cpu_check(&env, program) && nn_run_command(&env, &settings);
    if (!good) nn_fail(&env, NN_INTERNAL, "something failed and did not say why"); /* no more than what was said first */
    nn_settings_free(&env, &settings);
    if (env.error.status == 0) return ask == NN_ASK_NOTHING ? NN_BAD_INPUT : NN_OK;
    bool signalled = env.error.status > 128;
    nn_print(&env, NN_ERR, "%s: %s%s%s\n", name,
             signalled                         ? ""
             : env.error.status == NN_INTERNAL ? "internal error: "
                                               : "error: ",
             env.error.text, env.error.status == NN_INTERNAL ? " (please report it)" : "");
    return env.error.status;
}

int nn_main(const struct nn_program *program, int argc, char **argv) {
    hold_places();
    struct nn_system sys = nn_real_system();
    sys.stop = &stop_signal;
    catch_signals();
    return nn_main_with(&sys, program, argc, argv);
}
