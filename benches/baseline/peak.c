// SPDX-License-Identifier: Apache-2.0
// peak FILE PROGRAM [ARGUMENT]...: runs a program, and writes the peak memory of its largest process
// to a file, in KiB. A program begins with the peak of who started it (getrusage(2) hides that a child
// inherits it across execve), so that one has to be as small as this.

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    pid_t pid = fork();
    if (pid < 0)
        return 2;
    if (pid == 0) {
        execv(argv[2], argv + 2);
        _exit(127);
    }
    int status;
    struct rusage usage;
    if (wait4(pid, &status, 0, &usage) < 0)
        return 2;
    FILE *file = fopen(argv[1], "w");
    if (!file || fprintf(file, "%ld\n", usage.ru_maxrss) < 0 || fclose(file))
        return 2;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}
