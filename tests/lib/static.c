/*
 * The one program of the test images made from a static binary.  Without an
 * argument it waits for a signal, as a pause container does; with arguments
 * it prints them on a line and exits 0.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_signal(int sig)
{
    (void)sig;
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = on_signal};
    if (argc > 1) {
        for (int i = 1; i < argc; i++)
            printf("%s%c", argv[i], i + 1 < argc ? ' ' : '\n');
        return 0;
    }
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    signal(SIGCHLD, SIG_IGN);
    pause();
    return 0;
}
